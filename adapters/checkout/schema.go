package checkout

// The metadata of the endpoints, which $SRV.INFO gives: JSON Schema of what is
// asked and answered.
var (
	recordMetadata = map[string]string{
		"subject": recordPrefix + "<source>",
		"request": `{"description":"what intake.<source> takes: the platform's own JSON, or Comanda's CloudEvent","type":"object"}`,
		"response": `{"type":"object","required":["message_id","outcome"],"properties":{"message_id":{"type":"string"},` +
			`"outcome":{"enum":["applied","noted","late","conflict","duplicate","quarantined","relayed"]},"order_id":{"type":"string"},` +
			`"status":{"type":"string"},"revision":{"type":"integer"},"event_id":{"type":"string"},"position":{"type":"string"},` +
			`"id_reused":{"type":"boolean"},"results":{"type":"array"},"quarantine_id":{"type":"string"},"reason":{"type":"string"},` +
			`"detail":{"type":"string"},"errors":{"type":"object"}}}`,
	}
	getMetadata = map[string]string{
		"subject":  getPrefix + "<source>",
		"request":  `{"type":"object","additionalProperties":false,"properties":{` + targetSchema + `,"min_position":{"type":"string"}}}`,
		"response": `{"type":"object","required":["order"],"properties":{"order":{"description":"comanda.v1.Order","type":"object"}}}`,
	}
	waitMetadata = map[string]string{
		"subject": waitPrefix + "<source>",
		"request": `{"type":"object","additionalProperties":false,"properties":{` + targetSchema +
			`,"statuses":{"type":"array","items":{"type":"string"}},"revision":{"type":"integer","minimum":0},` +
			`"no_longer_pending":{"type":"boolean"},"timeout_ms":{"type":"integer","minimum":0}}}`,
		"response": `{"type":"object","required":["met","order"],"properties":{"met":{"type":"boolean"},` +
			`"order":{"description":"comanda.v1.Order","type":["object","null"]}}}`,
	}
)

// targetSchema are the members that say which order.
const targetSchema = `"order_id":{"type":"string"},"provider_order_id":{"type":"string"},"reference":{"type":"string"},` +
	`"source":{"type":"string"},"view":{"enum":["","basic","full"]}`
