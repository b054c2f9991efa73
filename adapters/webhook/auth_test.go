package webhook_test

import (
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"hash"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"comanda.internal/adapters/provider"
	"comanda.internal/adapters/provider/aprovei"
	"comanda.internal/adapters/webhook"
	"comanda.internal/domain"
)

func secrets(texts ...string) []domain.Secret {
	out := make([]domain.Secret, len(texts))
	for i, s := range texts {
		out[i] = domain.NewSecret(s)
	}
	return out
}

// knock is a request and whether it is let in.
type knock struct {
	name    string
	path    string // "" is the source's own
	headers []string
	body    string // "" is a good one
	in      bool
}

// knocks sends each request to a source with auth, alone in its house, and
// compares the answer; nothing is stored for those that stay outside.
func knocks(t *testing.T, auth webhook.Auth, at time.Time, all []knock) {
	t.Helper()
	s := newStore(t)
	h := newHouse(t, s, options{}, sourceWith("src", provider.Aprovei, codec(t, aprovei.New, aprovei.Config{}), auth))
	if !at.IsZero() {
		h.clock.Store(at.UnixNano())
	}
	body := fixture(t, "aprovei-pending")
	first := domain.Position{}.With(0, 1)
	for _, k := range all {
		t.Run(k.name, func(t *testing.T) {
			before := s.kept(t)
			path := "/webhooks/src"
			if k.path != "" {
				path = k.path
			}
			sent := body
			if k.body != "" {
				sent = k.body
			}
			w := h.do(post(path, "", sent, k.headers...))
			want := http.StatusUnauthorized
			if k.in {
				want = http.StatusOK
				if sent != body {
					want = http.StatusAccepted
				}
			}
			if w.Code != want {
				t.Errorf("answered %d %s, want %d", w.Code, w.Body, want)
			}
			if w.Code == http.StatusUnauthorized && w.Header().Get("WWW-Authenticate") == "" {
				t.Error("a 401 says how to authenticate (RFC 9110, section 15.5.2)")
			}
			if after := s.kept(t); !k.in && !cmp.Equal(before, after, cmp.Comparer(domain.Position.Equal)) {
				t.Errorf("stored %+v, before %+v", after, before)
			} else if k.in && sent == body && !after.Events.Equal(first) {
				t.Errorf("the log ends at %+v, want one event", after.Events)
			}
		})
	}
}

func basic(userPassword string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(userPassword))
}

func TestToken(t *testing.T) {
	auth := webhook.Auth{Type: webhook.AuthToken, Tokens: secrets("first-token", "second token+&", "loja:senha"), Header: "x-shop-token"}
	knocks(t, auth, time.Time{}, []knock{
		{name: "bearer", headers: []string{"Authorization", "Bearer first-token"}, in: true},
		{name: "bearer, in any case", headers: []string{"Authorization", "bearer first-token"}, in: true},
		{name: "the other live token", headers: []string{"Authorization", "Bearer second token+&"}, in: true},
		{name: "named header", headers: []string{"X-Shop-Token", "first-token"}, in: true},
		{name: "query", path: "/webhooks/src?token=first-token", in: true},
		{name: "query, escaped, among others", path: "/webhooks/src?a=b&token=second+token%2B%26&c", in: true},
		{name: "query, the second of two", path: "/webhooks/src?token=no&token=first-token", in: true},
		{name: "basic, as password", headers: []string{"Authorization", basic("anybody:first-token")}, in: true},
		{name: "basic, as user alone", headers: []string{"Authorization", basic("first-token:")}, in: true},
		{name: "basic, user and password", headers: []string{"Authorization", basic("loja:senha")}, in: true},
		{name: "with an action", path: "/webhooks/src/changed?token=first-token", in: true},

		{name: "nothing"},
		{name: "the start of a token", headers: []string{"Authorization", "Bearer first-toke"}},
		{name: "a token and more", headers: []string{"Authorization", "Bearer first-token2"}},
		{name: "in another case", headers: []string{"Authorization", "Bearer First-Token"}},
		{name: "an empty token", headers: []string{"Authorization", "Bearer "}},
		{name: "no scheme", headers: []string{"Authorization", "first-token"}},
		{name: "another scheme", headers: []string{"Authorization", "Digest first-token"}},
		{name: "basic, half", headers: []string{"Authorization", basic("loja:other")}},
		{name: "basic, no base64", headers: []string{"Authorization", "Basic %%%"}},
		{name: "basic, no colon", headers: []string{"Authorization", "Basic " + base64.StdEncoding.EncodeToString([]byte("first-token"))}},
		{name: "another header", headers: []string{"X-Other-Token", "first-token"}},
		{name: "another parameter", path: "/webhooks/src?tokens=first-token"},
		{name: "a bad escape", path: "/webhooks/src?token=first-token%2"},
		{name: "after too many others", path: "/webhooks/src?" + strings.Repeat("token=no&", 8) + "token=first-token"},
		{name: "another source", path: "/webhooks/other?token=first-token"},
	})
}

func sign(newHash func() hash.Hash, key, text string) []byte {
	mac := hmac.New(newHash, []byte(key))
	mac.Write([]byte(text))
	return mac.Sum(nil)
}

func TestHMACOfTheBody(t *testing.T) {
	body := fixture(t, "aprovei-pending")
	auth := webhook.Auth{Type: webhook.AuthHMAC, Secrets: secrets("old", "new"), Header: "X-Signature"}
	good := hex.EncodeToString(sign(sha256.New, "new", body))
	knocks(t, auth, time.Time{}, []knock{
		{name: "hex", headers: []string{"X-Signature", good}, in: true},
		{name: "upper case", headers: []string{"X-Signature", strings.ToUpper(good)}, in: true},
		{name: "with the hash's name", headers: []string{"X-Signature", "sha256=" + good}, in: true},
		{name: "the other live secret", headers: []string{"X-Signature", hex.EncodeToString(sign(sha256.New, "old", body))}, in: true},
		{name: "not even JSON, but signed", headers: []string{"X-Signature", hex.EncodeToString(sign(sha256.New, "old", "{"))}, body: "{", in: true},

		{name: "nothing"},
		{name: "empty", headers: []string{"X-Signature", ""}},
		{name: "another secret", headers: []string{"X-Signature", hex.EncodeToString(sign(sha256.New, "guess", body))}},
		{name: "another body", headers: []string{"X-Signature", good}, body: body + " "},
		{name: "half of it", headers: []string{"X-Signature", good[:32]}},
		{name: "no hex", headers: []string{"X-Signature", "zz"}},
		{name: "another hash's name", headers: []string{"X-Signature", "sha1=" + good}},
		{name: "another hash", headers: []string{"X-Signature", hex.EncodeToString(sign(sha1.New, "new", body))}},
		{name: "the secret as a token", headers: []string{"Authorization", "Bearer new"}},
		{name: "another source", path: "/webhooks/other", headers: []string{"X-Signature", good}},
	})
}

// Every encoding and hash is accepted in its own place and refused in any other.
func TestHMACEncodingsAndHashes(t *testing.T) {
	body := fixture(t, "aprovei-pending")
	hashes := map[string]func() hash.Hash{"sha256": sha256.New, "sha1": sha1.New, "sha512": sha512.New}
	for name := range hashes {
		for _, encoding := range []string{"hex", "base64"} {
			var all []knock
			for other, newHash := range hashes {
				sum := sign(newHash, "k", body)
				all = append(all,
					knock{name: "hex " + other, headers: []string{"X-Sig", hex.EncodeToString(sum)}, in: name == other && encoding == "hex"},
					knock{name: "base64 " + other, headers: []string{"X-Sig", base64.StdEncoding.EncodeToString(sum)}, in: name == other && encoding == "base64"},
					knock{name: "raw base64url " + other, headers: []string{"X-Sig", base64.RawURLEncoding.EncodeToString(sum)}, in: name == other && encoding == "base64"},
				)
			}
			t.Run(name+" "+encoding, func(t *testing.T) {
				knocks(t, webhook.Auth{Type: webhook.AuthHMAC, Secrets: secrets("k"), Header: "X-Sig", Hash: name, Encoding: encoding}, time.Time{}, all)
			})
		}
	}
}

func TestHMACOfATemplate(t *testing.T) {
	body, at := fixture(t, "aprovei-pending"), time.Unix(1778347934, 0)
	auth := webhook.Auth{
		Type: webhook.AuthHMAC, Secrets: secrets("k"), Header: "X-Sig", TimestampHeader: "X-Time",
		Template: "v0:{timestamp}.{body}", Tolerance: time.Minute,
	}
	signed := func(timestamp string) []string {
		return []string{"X-Time", timestamp, "X-Sig", hex.EncodeToString(sign(sha256.New, "k", "v0:"+timestamp+"."+body))}
	}
	seconds := func(d time.Duration) string { return strconv.FormatInt(at.Add(d).Unix(), 10) }
	now := signed(seconds(0))
	knocks(t, auth, at, []knock{
		{name: "now", headers: now, in: true},
		{name: "in milliseconds", headers: signed(strconv.FormatInt(at.UnixMilli(), 10)), in: true},
		{name: "a minute old", headers: signed(seconds(-time.Minute)), in: true},
		{name: "a minute ahead", headers: signed(seconds(time.Minute)), in: true},
		{name: "too old", headers: signed(seconds(-61 * time.Second))},
		{name: "too far ahead", headers: signed(seconds(61 * time.Second))},
		{name: "no time", headers: []string{"X-Sig", hex.EncodeToString(sign(sha256.New, "k", "v0:."+body))}},
		{name: "a time that is no number", headers: signed("now")},
		{name: "before there was time", headers: signed("-1")},
		{name: "an endless time", headers: signed("99999999999999999999")},
		{name: "another time than was signed", headers: []string{"X-Time", seconds(time.Second), "X-Sig", now[3]}},
		{name: "the body alone", headers: []string{"X-Time", seconds(0), "X-Sig", hex.EncodeToString(sign(sha256.New, "k", body))}},
	})
}

// vector is an example of the Standard Webhooks libraries.
type vector struct {
	Secret    string `json:"secret"`
	Public    string `json:"public"`
	ID        string `json:"id"`
	Timestamp int64  `json:"timestamp"`
	Body      string `json:"body"`
	Signature string `json:"signature"`
}

func TestStandardWebhooks(t *testing.T) {
	var vectors struct {
		V1  vector `json:"v1"`
		V1a vector `json:"v1a"`
	}
	must(t, json.Unmarshal([]byte(fixture(t, "standard-webhooks-vectors")), &vectors))
	for name, v := range map[string]vector{"v1": vectors.V1, "v1a": vectors.V1a} {
		secret, at := v.Secret+v.Public, time.Unix(v.Timestamp, 0)
		timestamp := strconv.FormatInt(v.Timestamp, 10)
		with := func(id, timestamp, signature string) []string {
			return []string{"Webhook-Id", id, "Webhook-Timestamp", timestamp, "Webhook-Signature", signature}
		}
		all := []knock{
			{name: "the vector", headers: with(v.ID, timestamp, v.Signature), in: true},
			{name: "among others", headers: with(v.ID, timestamp, "v2,abc v1,AAAA v1a,AAAA "+v.Signature), in: true},
			{name: "after too many others", headers: with(v.ID, timestamp, strings.Repeat("v1,AAAA ", 8)+v.Signature)},
			{name: "another id", headers: with(v.ID+"x", timestamp, v.Signature)},
			{name: "another time", headers: with(v.ID, strconv.FormatInt(v.Timestamp+1, 10), v.Signature)},
			{name: "without its version", headers: with(v.ID, timestamp, strings.TrimPrefix(v.Signature, name+","))},
			{name: "cut short", headers: with(v.ID, timestamp, v.Signature[:len(v.Signature)-4])},
			{name: "no signature", headers: with(v.ID, timestamp, "")},
			{name: "no id", headers: with("", timestamp, v.Signature)},
			{name: "no time", headers: with(v.ID, "", v.Signature)},
			{name: "another body", headers: with(v.ID, timestamp, v.Signature), body: v.Body + " "},
		}
		for i := range all {
			if all[i].body == "" {
				all[i].body = v.Body
			}
		}
		t.Run(name, func(t *testing.T) {
			auth := webhook.Auth{Type: webhook.AuthStandardWebhooks, Secrets: secrets("whsec_"+strings.Repeat("QUFB", 8), secret)}
			knocks(t, auth, at, all)
		})
		t.Run(name+" too late", func(t *testing.T) {
			auth := webhook.Auth{Type: webhook.AuthStandardWebhooks, Secrets: secrets(secret)}
			knocks(t, auth, at.Add(5*time.Minute+time.Second), []knock{{name: "the vector", headers: with(v.ID, timestamp, v.Signature), body: v.Body}})
		})
		t.Run(name+" by another secret", func(t *testing.T) {
			auth := webhook.Auth{Type: webhook.AuthStandardWebhooks, Secrets: secrets("whsec_" + strings.Repeat("QUFB", 8))}
			knocks(t, auth, at, []knock{{name: "the vector", headers: with(v.ID, timestamp, v.Signature), body: v.Body}})
		})
	}
}

// An unknown source and bad credentials answer byte for byte the same, but for
// the request id.
func TestOneAnswerForUnknownAndWrong(t *testing.T) {
	h := newHouse(t, newStore(t), options{}, sources(t)...)
	wrong := h.do(post("/webhooks/loja-aprovei", "wrong", "{}"))
	unknown := h.do(post("/webhooks/loja-levitado", tokenAprovei, "{}"))
	none := newHouse(t, newStore(t), options{}).do(post("/webhooks/loja-aprovei", "", "{}"))
	for name, w := range map[string]interface{ Result() *http.Response }{"unknown": unknown, "no sources at all": none} {
		got, want := w.Result(), wrong.Result() //nolint:bodyclose // of a recorder
		got.Header.Del("X-Request-Id")
		want.Header.Del("X-Request-Id")
		if diff := cmp.Diff(want.Header, got.Header); diff != "" || got.StatusCode != want.StatusCode {
			t.Errorf("%s: %d, headers (-wrong +%s):\n%s", name, got.StatusCode, name, diff)
		}
	}
	if diff := cmp.Diff(wrong.Body.String(), unknown.Body.String()); diff != "" {
		t.Errorf("bodies (-wrong +unknown):\n%s", diff)
	}
}

func TestAuthMistakes(t *testing.T) {
	for _, c := range []struct {
		name, yaml string
		want       []string // every line of the error; none: valid
	}{
		{"a token", `{type: token, tokens: [abc]}`, nil},
		{"a token's file", `{type: token, tokens_file: /run/secrets/aprovei}`, nil},
		{"hmac", `{type: hmac, header: X-Signature, hash: sha256, encoding: hex, secrets: [abc]}`, nil},
		{"hmac with a time", `{type: hmac, header: X-Signature, timestamp_header: X-Time, tolerance: 2m, secrets: [abc]}`, nil},
		{"standard", `{type: standard-webhooks, secrets: [whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw]}`, nil},
		{"nothing", `{}`, []string{`auth.type: "", want token, hmac or standard-webhooks`}},
		{"no token", `{type: token}`, []string{"auth.tokens: required, or tokens_file"}},
		{"an empty token", `{type: token, tokens: [a, " "]}`, []string{"auth.tokens: entry 2 is empty"}},
		{"secrets of a token", `{type: token, tokens: [a], secrets: [b]}`, []string{"auth.secrets: type token has tokens, not secrets"}},
		{"a header that is none", `{type: token, tokens: [a], header: "X Y"}`, []string{`auth.header: "X Y" is no header name`}},
		{
			"everything wrong with hmac",
			`{type: hmac, tokens: [a], encoding: rot13, hash: md5, template: "{bdy}", tolerance: -1s}`,
			[]string{
				"auth.secrets: required, or secrets_file", "auth.tokens: type hmac has secrets, not tokens",
				"auth.header: required: where the signature is", `auth.encoding: "rot13", want hex or base64`,
				`auth.hash: "md5", want sha256, sha1 or sha512`,
				`auth.template: "{bdy}": only {body} and {timestamp} may stand in braces`, "auth.tolerance: -1s, want a positive duration",
			},
		},
		{"a template without the body", `{type: hmac, header: S, secrets: [a], timestamp_header: T, template: "{timestamp}"}`, []string{"auth.template: has no {body}, so the signature would hold for any body"}},
		{"a time that is not signed", `{type: hmac, header: S, secrets: [a], timestamp_header: T, template: "{body}"}`, []string{"auth.timestamp_header: a timestamp is checked when it is signed, so the template's {timestamp} and this header need each other"}},
		{"a signed time from nowhere", `{type: hmac, header: S, secrets: [a], template: "{timestamp}{body}"}`, []string{"auth.timestamp_header: a timestamp is checked when it is signed, so the template's {timestamp} and this header need each other"}},
		{"no base64", `{type: standard-webhooks, secrets: ["whsec_***"]}`, []string{"auth.secrets: entry 1: want whsec_ or whpk_ and base64"}},
		{"too short", `{type: standard-webhooks, secrets: [whsec_QUFB]}`, []string{"auth.secrets: entry 1: a symmetric secret has 24 to 64 bytes"}},
		{"a public key too short", `{type: standard-webhooks, secrets: [whpk_QUFB]}`, []string{"auth.secrets: entry 1: a public key has 32 bytes"}},
		{"a private key", `{type: standard-webhooks, secrets: [whsk_QUFB]}`, []string{"auth.secrets: entry 1: is a private key; we need its public one, whpk_…"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var auth webhook.Auth
			must(t, yaml.Unmarshal([]byte(c.yaml), &auth))
			var got []string
			if err := auth.Validate(); err != nil {
				got = strings.Split(err.Error(), "\n")
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("mistakes (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAuthLoad(t *testing.T) {
	files := map[string]string{"/t": "# of May\n one \n\ntwo\n", "/empty": "\n# nothing\n"}
	read := func(path string) ([]byte, error) {
		if text, ok := files[path]; ok {
			return []byte(text), nil
		}
		return nil, os.ErrNotExist
	}
	auth := webhook.Auth{Type: webhook.AuthToken, Tokens: secrets("zero"), TokensFile: "/t"}
	must(t, auth.Load(read))
	var got []string
	for _, s := range auth.Tokens {
		got = append(got, s.Reveal())
	}
	if diff := cmp.Diff([]string{"zero", "one", "two"}, got); diff != "" {
		t.Errorf("tokens (-want +got):\n%s", diff)
	}
	empty := webhook.Auth{TokensFile: "/empty"}
	if err := empty.Load(read); err == nil || err.Error() != "auth.tokens_file: /empty holds no secret" {
		t.Errorf("an empty file: %v", err)
	}
	missing := webhook.Auth{SecretsFile: "/none"}
	if err := missing.Load(read); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
}
