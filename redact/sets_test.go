package redact

import (
	"strings"
	"testing"
)

// texts has, for each set, texts with what it must find between ⟦ and ⟧, and texts in which it must find nothing.
var texts = map[SetName]struct{ recall, precision []string }{
	"secrets": {
		recall: []string{
			"Authorization: ⟦Bearer abc.def-123⟧",
			`curl -H "Authorization: ⟦Token s3cr3t v2⟧" https://example.com`,
			"sent bearer ⟦mF_9.B5f-4.1JqM⟧ to upstream",
			"Basic ⟦dXNlcjpwYXNz⟧",
			"got ⟦eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl⟧ from cookie",
			"https://api.example.com/v1?user=1&token=⟦abc123⟧&page=2",
			"https://api.example.com/v1?access_token=⟦abc123⟧",
			"https://api.example.com/cb?next=%2Fhome%3Ftoken%3D⟦abc123⟧%26x%3D1",
			"?api-key=⟦k1⟧&apikey=⟦k2⟧&API_KEY=⟦k3⟧",
			"https://bucket.s3.amazonaws.com/x?X-Amz-Credential=⟦AKIA1%2F20240101⟧&X-Amz-Signature=⟦deadbeef⟧&X-Amz-Date=20240101",
			"postgres://app:⟦hunter2⟧@db.internal:5432/prod",
			"redis://:⟦p%40ss⟧@10.0.0.1/0",
			"Server=db;User Id=app;Password=⟦p4ss⟧;Encrypt=true",
			"jdbc:mysql://db/prod?user=app&password=⟦p4ss⟧",
			`{"user":"a","password":"⟦p\"4 ss⟧","n":1}`,
			`{"body":"{\"clientSecret\":\"⟦abc⟧\",\"id\":7}"}`,
			`{"dbPassword": "⟦x y z⟧"}`,
			"DB_PASSWORD=⟦hunter2⟧ ./run", "run --db-password=⟦hunter2⟧ --verbose",
			"password: ⟦hunter2⟧",
			"key ⟦AKIAIOSFODNN7EXAMPLE⟧ leaked",
			"⟦ghp_abcdefghijklmnopqrstuvwxyz0123456789⟧",
			"⟦-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----⟧\nnext",
			"パスワード：⟦himitsu⟧",
		},
		precision: []string{
			"GET /api/v1/users/42", "SELECT * FROM tokens WHERE id = ?", "Bearer token missing", "basic authentication required",
			"gen_ai.usage.input_tokens=12", "next_page_token=abc", "https://example.com/a:b@c", "http://localhost:4318/v1/traces",
			"password reset requested", `{"password":null}`, "2024-01-15T08:30:00Z", "4bf92f3577b34da6a3ce929d0e0e4736",
			"bearer-based-authentication", "the token is valid", "mailto:someone@example.com", "tokenizer=fast", "keyboard: us",
		},
	},
	"cookies": {
		recall: []string{
			"Cookie: ⟦session=abc; theme=dark⟧\r\nHost: x",
			"Set-Cookie: ⟦sid=31d4; Path=/; HttpOnly⟧",
			"/shop;jsessionid=⟦1A2B3C⟧ 200", `{"cookie":"⟦a=b; c=d⟧"}`, "PHPSESSID=⟦abc⟧",
		},
		precision: []string{"cookies are enabled", "GET /cookie-policy", "session.id is set", "side=left", "cookie banner: shown"},
	},
	"email": {
		recall: []string{
			"to ⟦taro.yamada+test@mail.example.co.jp⟧ failed", "連絡先⟦taro@example.jp⟧まで", "?email=⟦taro%40example.com⟧&x=1",
			`<⟦a_b@example.org⟧>,"⟦c@d.io⟧"`, "mailto:⟦someone@example.com⟧.", "user ⟦O'Brien@example.com⟧", "?to%3D⟦bob%40example.com⟧",
		},
		precision: []string{"react@18.2.0", "lodash@4.17.21.tgz", "com.example.Foo@1a2b3c", "image@sha256:0123abcd", "@mention", "fw529a3039@dt", "a@b", "user @ example.com"},
	},
	"phone_jp": {
		recall: []string{
			"tel ⟦090-1234-5678⟧", "⟦09012345678⟧", "⟦03-1234-5678⟧", "(⟦03)1234-5678⟧", "⟦0120-123-456⟧", "⟦0312345678⟧", "+⟦81-90-1234-5678⟧",
			"+⟦819012345678⟧", "電話⟦０９０－１２３４－５６７８⟧です", "⟦０３（１２３４）５６７８⟧", "+⟦81 (0)3 1234 5678⟧", "?tel=%2B⟦819012345678⟧", "⟦0800-123-4567⟧", "?tel=⟦090%2D1234%2d5678⟧&x=1",
			"⟦042-123-4567⟧ 内線 12", "fax:⟦0467-12-3456⟧", "id 12 ⟦090 1234 5678⟧",
		},
		precision: []string{
			"2024-01-15 08:30:00", "1705307400", "1705307400123", "1705307400123456789", "10.0.0.1:4318", "0000001234", "550e8400-e29b-41d4-a716-446655440000",
			"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "0.1234567890", "20240115083000", "0x0312345678ab", "123-4567", "HTTP/1.1 200", "a09012345678",
			"09012345-6789-0123-4567-890123456789",
		},
	},
	"phone_intl": {
		recall: []string{
			"+⟦1 415 555 0123⟧", "+⟦442079460958⟧", "call +⟦44 (0)20 7946 0958⟧ now", "⟦415-555-0123⟧", "(⟦415) 555-0123⟧", "⟦415.555.0123⟧", "⟦1-415-555-0123⟧",
			"tel:+⟦819012345678⟧", "%2B⟦4915112345678⟧",
		},
		precision: []string{
			"2024-01-01T00:00:00+0900", "UTC+09:00", "1+1", "+1234567", "1705307400123", "10.0.0.1", "v1.2.3-45", "100-100-1000", "550e8400-e29b-41d4-a716-446655440000", "3.1415926535",
		},
	},
	"insurance_jp": {
		recall: []string{
			"被保険者番号：⟦12345678⟧", "被保険者番号は⟦１２３４-５⟧です", "insurer ⟦01130012⟧ x", "保険者番号 ⟦06130017⟧", `{"insuredNumber":"⟦1234-56⟧"}`, "insured_no=⟦987⟧&x=1",
			"記号番号:⟦12-345⟧",
		},
		precision: []string{"20240115", "12345678", "01130013", "1705307400", "99139999", "番号 12", "order 00000000", "06999996", "0.01130012"},
	},
	"my_number_jp": {
		recall:    []string{"⟦123456789018⟧", "⟦1234-5678-9018⟧", "⟦1234 5678 9018⟧", "マイナンバー:⟦123456789018⟧", "個人番号は⟦１２３４５６７８９０１８⟧", "my_number=⟦123⟧"},
		precision: []string{"123456789012", "1705307400123", "1705307400", "202401150831", "123456789018abc", "x123456789018", "550e8400-e29b-41d4-a716-123456789018", "0.123456789018"},
	},
	"ssn_us": {
		recall:    []string{"ssn ⟦123-45-6789⟧", "⟦123 45 6789⟧", "ssn=⟦123456789⟧", "id:⟦078-05-1120⟧."},
		precision: []string{"000-12-3456", "666-12-3456", "900-12-3456", "123-00-4567", "123-45-0000", "123456789", "2024-01-1512", "123-45-67890"},
	},
	"cards": {
		recall: []string{
			"⟦4111111111111111⟧", "⟦4111 1111 1111 1111⟧", "⟦4111-1111-1111-1111⟧", "pay ⟦378282246310005⟧", "⟦3782 822463 10005⟧", "⟦5555555555554444⟧", "⟦2223003122003222⟧",
			"⟦3530111333300000⟧", "⟦6011111111111117⟧", "⟦30569309025904⟧", "１２ ⟦４１１１１１１１１１１１１１１１⟧", "n 1234 ⟦4111111111111111⟧ 5", "1. ⟦4111 1111 1111 1111⟧",
			"card_4111111111111111"[:5] + "⟦4111111111111111⟧", `{"cvc":"⟦123⟧"}`,
		},
		precision: []string{
			"4111111111111112", "1705307400123456", "1705307400123456789", "4611686018427387904", "20240115083000", "4bf92f3577b34da6a3ce929d0e0e4736", "0.4111111111111111",
			"9999999999999995", "a4111111111111111", "4111111111111111b",
		},
	},
}

// marked is a text and its matches, from the marks in it.
func marked(s string) (text string, want []match) {
	var b strings.Builder
	for s != "" {
		switch {
		case strings.HasPrefix(s, "⟦"):
			want = append(want, match{start: b.Len()})
			s = strings.TrimPrefix(s, "⟦")
		case strings.HasPrefix(s, "⟧"):
			want[len(want)-1].end = b.Len()
			s = strings.TrimPrefix(s, "⟧")
		default:
			b.WriteByte(s[0])
			s = s[1:]
		}
	}
	return b.String(), want
}

func (of SetName) textRule(t *testing.T) *rule {
	for _, r := range (Set{Name: of}).compile() {
		if len(r.find) > 0 {
			return r
		}
	}
	t.Fatalf("set %s looks into no texts", of)
	return nil
}

func TestSets(t *testing.T) {
	for _, name := range (SetName("")).Values() {
		set := SetName(name)
		r := set.textRule(t)
		find := func(text string) []match {
			c, digits := classify([]byte(text))
			return new(rewriter).matches(r, []byte(text), c, digits)
		}
		show := func(text string, found []match) string {
			for i := len(found) - 1; i >= 0; i-- {
				text = text[:found[i].start] + "⟦" + text[found[i].start:found[i].end] + "⟧" + text[found[i].end:]
			}
			return text
		}
		if len(texts[set].recall) < 4 || len(texts[set].precision) < 4 {
			t.Errorf("%s has no corpus", set)
		}
		for _, s := range texts[set].recall {
			text, want := marked(s)
			if got := show(text, find(text)); got != show(text, want) {
				t.Errorf("%s finds %s, want %s", set, got, s)
			}
		}
		for _, s := range texts[set].precision {
			if found := find(s); len(found) > 0 {
				t.Errorf("%s finds %s, want nothing", set, show(s, found))
			}
		}
	}
}

func TestSetKeys(t *testing.T) {
	for set, keys := range map[SetName]struct{ is, not []string }{
		"secrets": {
			[]string{"http.request.header.authorization", "rpc.grpc.request.metadata.authorization", "http.request.header.x-api-key", "x_api_key", "db.password", "dbPassword",
				"DB_PASSWORD", "client_secret", "accessToken", "user.token", "aws.secret_access_key", "form.fields[password]"},
			[]string{"http.request.header.accept", "gen_ai.usage.input_tokens", "next_page_token", "db.statement", "tokenizer", "service.name", "thread.name", "http.route"},
		},
		"cookies":      {[]string{"http.request.header.cookie", "http.response.header.set-cookie", "Set-Cookie", "set_cookie"}, []string{"cookie.consent", "session.id"}},
		"email":        {[]string{"user.email", "enduser.email", "mailAddress", "customer.メールアドレス"}, []string{"email.count", "mailer"}},
		"phone_jp":     {[]string{"user.phone", "phoneNumber", "電話番号"}, []string{"phone.os", "telemetry.sdk.name"}},
		"insurance_jp": {[]string{"被保険者番号", "patient.insuredNumber", "insurer_no"}, []string{"insurance.kind", "番号"}},
		"my_number_jp": {[]string{"my_number", "個人番号", "user.myNumber"}, []string{"number"}},
		"ssn_us":       {[]string{"ssn", "user.ssn"}, []string{"session"}},
		"cards":        {[]string{"card_number", "payment.cardNumber", "cvc", "pan"}, []string{"card.brand", "span"}},
	} {
		for _, r := range (Set{Name: set}).compile() {
			if r.key == nil {
				continue
			}
			for _, k := range keys.is {
				if !r.key([]byte(k)) {
					t.Errorf("%s does not take key %s", set, k)
				}
			}
			for _, k := range keys.not {
				if r.key([]byte(k)) {
					t.Errorf("%s takes key %s", set, k)
				}
			}
		}
	}
}
