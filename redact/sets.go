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
	keys   *names
	find   []finder
	class  class // what a text must have, one of these bits at least
	digits int   // and how many digits
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
	"secrets": {keys: secretNames, class: anything, find: []finder{
		credentials, passwordInURL, assignments(secretNames, headerNames)}},
	"cookies": {keys: cookieNames, class: assigns, find: []finder{assignments(sessionIDs, cookieNames)}},
	"email":   {keys: emailNames, class: at, find: []finder{emails}},
	"phone_jp": {keys: phoneNames, class: digital, digits: 9, find: []finder{
		numbers(isPhoneJP)}},
	"phone_intl": {keys: phoneNames, class: digital, digits: 8, find: []finder{numbers(isPhone)}},
	"insurance_jp": {keys: insuranceNames, class: digital, digits: 2, find: []finder{
		numbers(isInsurer), assignments(insuranceNames, nil), labelled(insuranceNames.parts...)}},
	"my_number_jp": {keys: myNumberNames, class: digital, digits: 2, find: []finder{
		numbers(isMyNumber), assignments(myNumberNames, nil), labelled(myNumberNames.parts...)}},
	"ssn_us": {keys: ssnNames, class: digital, digits: 9, find: []finder{numbers(isSSN), assignments(ssnNames, nil)}},
	"cards":  {keys: cardNames, class: digital, digits: 3, find: []finder{numbers(isCard), assignments(cardNames, nil)}},
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
		{name: string(s.Name), action: action, keep: s.Keep, places: where, find: of.find, class: of.class, digits: of.digits},
	}
}

func numbers(is func(window) bool) finder {
	return func(found []match, text []byte) []match {
		r := runs.Get().(*run)
		found = r.find(found, text, is)
		if cap(r.groups) < 1<<10 {
			runs.Put(r)
		}
		return found
	}
}

var runs = sync.Pool{New: func() any { return new(run) }}

func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
