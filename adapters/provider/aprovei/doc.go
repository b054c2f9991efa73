// Package aprovei reads the webhooks of Aprovei, "Nova Venda" and "Atualização
// de Status", which have one and the same body, and the older postback of Vega,
// which means the same under other names. [Codec] reads both; [Sample] and
// [SampleVega] write synthetic ones.
//
// An order is a transaction_token. The document's own PHP sample marks a token
// as processed and so loses the approval that follows the pending one; here the
// key holds token, kind and phase, the status' own date and the amount, so that
// pending, approved and refunded of one token are three facts.
//
// A refund or chargeback that carries date_approved also yields the approval,
// inferred. Vega's document names neither a creation date nor a merchant's
// code, and its plans have no documented form: they stay in the raw body.
package aprovei
