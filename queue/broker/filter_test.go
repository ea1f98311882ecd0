package broker

import (
	"strings"
	"testing"
)

func TestFilter(t *testing.T) {
	com := map[string]string{"domain": "com", "lang": "en-us", "a b": "c"}
	for _, c := range []struct {
		text string
		want bool
	}{
		{`attributes:domain`, true},
		{`attributes:Domain`, false},
		{`attributes:"a b"`, true},
		{`attributes.domain = "com"`, true},
		{`attributes.domain="co"`, false},
		{`attributes.domain != "com"`, false},
		{`attributes.domain != "org"`, true},
		{`attributes.gone != "com"`, true},
		{`attributes.gone = ""`, false},
		{`attributes."a b" = "c"`, true},
		{`attributes . "\x61\u0020b" = "\143"`, true},
		{`hasPrefix(attributes.lang, "en-")`, true},
		{`hasPrefix(attributes.lang,"us")`, false},
		{`hasPrefix(attributes.gone, "")`, false},
		{`hasPrefix(attributes."lang", "")`, true},
		{`NOT attributes:domain`, false},
		{`-attributes:domain`, false},
		{`- attributes:gone`, true},
		{`NOT -attributes:domain`, true},
		{`NOT(attributes:gone)`, true},
		{`attributes:domain AND attributes:lang AND attributes:gone`, false},
		{`attributes:gone OR attributes:none OR attributes:lang`, true},
		{`attributes:gone AND (attributes:lang OR attributes:domain)`, false},
		{`(attributes:gone AND attributes:lang) OR attributes:domain`, true},
		{"attributes:domain\n\tAND NOT attributes:gone", true},
		{`NOT attributes:gone AND attributes:lang`, true},
		{`NOT attributes:domain OR attributes:gone`, false},
		{`attributes:domain AND -hasPrefix(attributes.domain, "o")`, true},
		{`attributes.AND = "x" OR attributes:domain`, true},
	} {
		match, err := parseFilter(c.text)
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
		} else if got := match(com); got != c.want {
			t.Errorf("%s: matches %t, want %t", c.text, got, c.want)
		}
	}
}

func TestFilterSyntaxErrors(t *testing.T) {
	for text, want := range map[string]string{
		``:                            `position 1: want attributes, hasPrefix, NOT or a parenthesis, found the end`,
		` data = "x"`:                 `position 2: want attributes, hasPrefix, NOT or a parenthesis, found "data = \"x\""`,
		`attributes`:                  `position 11: want ":" or ".", found the end`,
		`attributes.a`:                `position 13: want "=" or "!=", found the end`,
		`attributes.a < "b"`:          `position 14: want "=" or "!=", found "< \"b\""`,
		`attributes.a = b`:            `position 16: want a string in double quotes, found "b"`,
		`attributes.a = 'b'`:          `position 16: want a string in double quotes, found "'b'"`,
		"attributes.a = `b`":          "position 16: want a string in double quotes, found \"`b`\"",
		`attributes.a = "b`:           `position 16: want a string in double quotes, found "\"b"`,
		`attributes.a = "\q"`:         `position 16: want a string in double quotes, found "\"\\q\""`,
		`attributes:`:                 `position 12: want the key of an attribute, found the end`,
		`attributes:-a`:               `position 12: want the key of an attribute, found "-a"`,
		`attributes:a.b`:              `position 13: want AND, OR or the end, found ".b"`,
		`attributes:a and attributes`: `position 14: want AND, OR or the end, found "and attributes"`,
		`attributes:a AND`:            `position 17: want attributes, hasPrefix, NOT or a parenthesis, found the end`,
		`(attributes:a`:               `position 14: want ")", found the end`,
		`attributes:a)`:               `position 13: want AND, OR or the end, found ")"`,
		`hasPrefix(attributes:a,"b")`: `position 21: want ".", found ":a,\"b\")"`,
		`hasPrefix("a", "b")`:         `position 11: want attributes, found "\"a\", \"b\")"`,
		`hasPrefix(attributes.a)`:     `position 23: want ",", found ")"`,
		`attributes:a AND attributes:b OR attributes:c`: `position 31: want parentheses, since AND and OR are mixed, found "OR attributes:c"`,
	} {
		if _, err := parseFilter(text); err == nil || err.Error() != want {
			t.Errorf("%s:\n got %v\nwant %s", text, err, want)
		}
	}
}

// What parses can be negated and joined, and then means what it says.
func FuzzFilter(f *testing.F) {
	f.Add(`attributes.domain = "com" AND -attributes:"lang"`, "com", "en")
	f.Add(`NOT (attributes:name OR hasPrefix(attributes.lang, "\x6a\u0070"))`, "", "jp")
	f.Add(`((((attributes:a`, "a", "b")
	f.Fuzz(func(t *testing.T, text, domain, lang string) {
		match, err := parseFilter(text)
		if err != nil {
			if !strings.HasPrefix(err.Error(), "position ") {
				t.Errorf("%q: %v names no position", text, err)
			}
			return
		}
		attributes := map[string]string{"domain": domain, "lang": lang}
		want := match(attributes)
		for text, want := range map[string]bool{"NOT (" + text + ")": !want, "(" + text + ") AND (" + text + ")": want, "-(" + text + ") OR (" + text + ")": true} {
			joined, err := parseFilter(text)
			if err != nil {
				t.Errorf("%q: %v", text, err)
			} else if got := joined(attributes); got != want {
				t.Errorf("%q: matches %t, want %t", text, got, want)
			}
		}
	})
}
