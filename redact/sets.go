package redact

import (
	"maps"
	"slices"
	"sync"

	"tailweir/otlp"
)

// SetName is the name of a ready set.
type SetName string

// Values lists them, in the order in which they are applied, whatever order they are named in: what is longer or can hold the other comes
// first. Else a phone number would eat the first digits of a card's that follows, and leave the others.
func (SetName) Values() []string {
	return []string{"secrets", "cookies", "cards", "my_number_jp", "ssn_us", "insurance_jp", "phone_jp", "phone_intl", "email"}
}

// ready is what a set looks for: attributes by their keys, whose whole values go, and matches in texts.
type ready struct {
	keys *names
	find []finder
}

var (
	secretNames = &names{
		words: []string{"authorization", "proxy_authorization", "x_authorization", "password", "passwd", "pwd", "passphrase", "passcode", "secret",
			"client_secret", "token", "api_key", "apikey", "private_key", "secret_key", "access_key", "encryption_key", "signing_key",
			"x_goog_api_key", "subscription_key", "credential", "credentials", "signature", "sig", "otp", "pin_code", "sessiontoken",
			"accesstoken", "refreshtoken", "idtoken", "authtoken", "clientsecret", "privatekey", "awsaccesskeyid", "sas", "jwt"},
		not:   []string{"page_token", "next_token", "continuation_token", "pagination_token", "sync_token"},
		parts: []string{"パスワード", "暗証番号"},
	}
	headerNames = &names{words: []string{"authorization", "proxy_authorization", "x_authorization"}}
	cookieNames = &names{words: []string{"cookie", "set_cookie", "cookie2", "set_cookie2", "cookies"}}
	sessionIDs  = &names{words: []string{"jsessionid", "phpsessid", "asp_net_sessionid", "aspsessionid", "sid", "sessionid", "session_id", "csrftoken",
		"xsrf_token", "sessid"}}
	emailNames = &names{words: []string{"email", "e_mail", "mail", "email_address", "mail_address", "emailaddress"},
		parts: []string{"メールアドレス"}}
	phoneNames = &names{words: []string{"phone", "phone_number", "phonenumber", "tel", "telephone", "mobile_number", "mobile_phone", "fax", "fax_number",
		"denwa", "keitai"}, parts: []string{"電話番号", "携帯番号", "携帯電話"}}
	insuranceNames = &names{words: []string{"insured_number", "insured_no", "insured_person_number", "insurer_number", "insurer_no", "insurance_number",
		"insurance_no", "insurance_card_number", "health_insurance_number", "insurance_symbol", "hihokensha_bango", "hokensha_bango",
		"hihokenshabango", "hokenshabango", "hokensho_bango", "insured_symbol", "policy_holder_number"},
		parts: []string{"保険者番号", "保険者証", "保険証番号", "保険証記号", "記号番号", "公費負担者番号", "公費受給者番号"}}
	myNumberNames = &names{words: []string{"my_number", "mynumber", "individual_number", "kojin_bango", "kojinbango"},
		parts: []string{"個人番号", "マイナンバー"}}
	ssnNames  = &names{words: []string{"ssn", "social_security_number", "social_security_no", "socialsecuritynumber"}}
	cardNames = &names{words: []string{"card_number", "cardnumber", "credit_card", "creditcard", "card_no", "cc_number", "pan", "primary_account_number",
		"cvv", "cvc", "cvv2", "cvc2", "card_cvc", "card_security_code"}, parts: []string{"カード番号"}}
)

var sets = map[SetName]ready{
	"secrets":      {secretNames, []finder{{find: credentials}, {find: passwordInURL, class: at}, named(secretNames, headerNames)}},
	"cookies":      {cookieNames, []finder{named(sessionIDs, cookieNames)}},
	"cards":        {cardNames, []finder{numbers(isCard, 13), named(cardNames, nil)}},
	"my_number_jp": {myNumberNames, []finder{numbers(isMyNumber, 12), named(myNumberNames, nil), behind(myNumberNames)}},
	"ssn_us":       {ssnNames, []finder{numbers(isSSN, 9), named(ssnNames, nil)}},
	"insurance_jp": {insuranceNames, []finder{numbers(isInsurer, 8), named(insuranceNames, nil), behind(insuranceNames)}},
	"phone_jp":     {phoneNames, []finder{numbers(isPhoneJP, 10)}},
	"phone_intl":   {phoneNames, []finder{numbers(isPhone, 8)}},
	"email":        {emailNames, []finder{{find: emails, class: at}}},
}

// setPlaces is where sets look. trace_state has vendors' numbers, on which sampling rests; the other texts are names that code gives.
var setPlaces = bits(nil, "everything") &^ (1<<otlp.TraceState | 1<<otlp.OtherText)

// compile makes two rules of a set, of one name: one for keys, whose whole values go, and one for texts.
func (s Set) compile() []*rule {
	of, known := sets[s.Name]
	if !known { // which is a fault already
		return nil
	}
	action, where := s.Action, setPlaces
	if action == "" {
		action = Mask
	}
	if len(s.In) > 0 {
		where = bits(s.In, "")
	}
	return []*rule{
		{name: string(s.Name), action: action, keep: s.Keep, places: where, key: of.keys.has},
		{name: string(s.Name), action: action, keep: s.Keep, places: where, find: of.find},
	}
}

// numbers finds what is a number of at least so many digits.
func numbers(is func(window) bool, digits int) finder {
	return finder{class: digital, digits: digits, find: func(found []match, text []byte) []match {
		r := runs.Get().(*run)
		found = r.find(found, text, is)
		if cap(r.groups) < 1<<10 {
			runs.Put(r)
		}
		return found
	}}
}

// named finds assignments; where they are of numbers, only in texts that have digits.
func named(n, lines *names) finder {
	f := finder{find: assignments(n, lines), class: assigns}
	if lines == nil {
		f.digits = 1
	}
	return f
}

func behind(n *names) finder { return finder{find: labelled(n.parts...), class: digital, digits: 2} }

var runs = sync.Pool{New: func() any { return new(run) }}

func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
