package ottlcond

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

const (
	// maxText and maxNesting bound a condition, as OTTL's parser does not: it recurses with each bracket.
	maxText    = 64 << 10
	maxNesting = 50

	// maxMessage bounds the text of an error on a span: OTTL puts attributes into them, and those can have megabytes.
	maxMessage = 300
)

func bounded(text string) error {
	if len(text) > maxText {
		return fmt.Errorf("%d bytes, at most %d can be parsed", len(text), maxText)
	}
	depth := 0
	for _, c := range text {
		switch c {
		case '(', '[', '{':
			depth++
		case ')', ']', '}':
			depth--
		}
		if depth > maxNesting {
			return fmt.Errorf("brackets nest deeper than %d", maxNesting)
		}
	}
	return nil
}

// recovered turns a panic into an error: a fault of OTTL's on some span must not take the process and all it holds down.
func recovered(err *error) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("panic: %v", r)
	}
}

// syntaxError is OTTL's form of an error with a place; what follows is what it had expected, or its lexer's message.
var syntaxError = regexp.MustCompile(`(?s)^condition has invalid syntax(?: at|:) (\d+):(\d+)(?: near (.*?))?:\s*(.*)$`)

// shorter makes OTTL's messages shorter, and its grammar's terms plain.
var shorter = strings.NewReplacer(
	"couldn't create function: ", "",
	"error while parsing arguments for ", "",
	`Field ("." Field)*`, "a path or a value",
	"<opcomparison> Value", "a comparison",
	"lexer: invalid input text", "near",
)

func faultOf(list string, index int, err error) Fault {
	message, _, _ := strings.Cut(cause(err).Error(), " nor a valid OTTL keyword") // and an address to read
	m := syntaxError.FindStringSubmatch(message)
	if m == nil {
		return Fault{List: list, Index: index, Message: shorter.Replace(message)}
	}
	f := Fault{List: list, Index: index, Message: "invalid syntax"}
	f.Line, _ = strconv.Atoi(m[1])
	f.Column, _ = strconv.Atoi(m[2])
	if m[3] != "" {
		f.Message += " near " + m[3]
	}
	if m[4] != "" {
		f.Message += " " + shorter.Replace(m[4])
	}
	return f
}

// cause strips the wrapping that quotes the whole condition, with the context's name put into its paths.
func cause(err error) error {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok || len(joined.Unwrap()) == 0 {
		return err
	}
	return cmp.Or(errors.Unwrap(joined.Unwrap()[0]), err)
}
