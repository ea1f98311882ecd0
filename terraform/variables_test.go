package terraform_test

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"tailweir/golden"
)

// variable is what a variable block says.
type variable struct {
	section, name, description, typ, fallback string
	required                                  bool
	validations                               int
}

// variables reads the variable blocks of a folder, in the order of files and lines. It knows the form that terraform fmt gives them and
// the arguments that are used here.
func variables(t *testing.T, dir string) []variable {
	t.Helper()
	files, err := filepath.Glob(dir + "/*.tf")
	if err != nil {
		t.Fatal(err)
	}
	// The main file first: what everybody has to set stands at the top.
	var ordered []string
	for _, file := range files {
		if filepath.Base(file) == "variables.tf" {
			ordered = append([]string{file}, ordered...)
		} else {
			ordered = append(ordered, file)
		}
	}
	var all []variable
	for _, file := range ordered {
		section := ""
		var v *variable
		lines := strings.Split(read(t, file), "\n")
		for i := 0; i < len(lines); i++ {
			line := lines[i]
			if s, ok := strings.CutPrefix(line, "# --- "); ok {
				section = s
			}
			if name, ok := strings.CutPrefix(line, `variable "`); ok {
				v = &variable{section: section, name: strings.TrimSuffix(name, `" {`), required: true}
			}
			if v == nil {
				continue
			}
			if line == "}" {
				if v.description == "" {
					t.Errorf("%s: %s has no description", file, v.name)
				}
				all = append(all, *v)
				v = nil
				continue
			}
			if line == "  validation {" {
				v.validations++
			}
			key, value, ok := strings.Cut(line, "=")
			if !ok || !strings.HasPrefix(line, "  ") || strings.HasPrefix(line, "   ") {
				continue
			}
			value = strings.TrimSpace(value)
			for open := depth(value); open > 0; open = depth(value) { // a value of several lines
				i++
				next := strings.TrimSpace(lines[i])
				if !strings.HasSuffix(value, "{") && !strings.HasSuffix(value, "[") && !strings.HasPrefix(next, "}") && !strings.HasPrefix(next, "]") {
					value += ","
				}
				value += " " + next
			}
			switch strings.TrimSpace(key) {
			case "description":
				text, err := strconv.Unquote(value)
				if err != nil {
					t.Fatalf("%s:%d: %v", file, i+1, err)
				}
				v.description = text
			case "type":
				v.typ = value
			case "default":
				v.fallback, v.required = value, false
			}
		}
	}
	return all
}

func depth(s string) int {
	if strings.HasPrefix(s, `"`) {
		return 0
	}
	return strings.Count(s, "{") + strings.Count(s, "[") + strings.Count(s, "(") - strings.Count(s, "}") - strings.Count(s, "]") - strings.Count(s, ")")
}

// The tables in docs/terraform.md are made of the module's variables and outputs: go test ./terraform -run Documentation -update.
func TestDocumentation(t *testing.T) {
	const file = "../docs/terraform.md"
	const begin, end = "<!-- made of the module's variables -->\n", "<!-- end of what is made -->\n"
	doc := read(t, file)
	head, rest, ok := strings.Cut(doc, begin)
	_, tail, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no lines %q and %q", file, begin, end)
	}
	golden.Check(t, file, head+begin+table(variables(t, module))+end+tail)
}

func table(all []variable) string {
	var b strings.Builder
	section := "?"
	for _, v := range all {
		if v.section != section {
			section = v.section
			fmt.Fprintf(&b, "\n**%s**\n\n| variable | type | default | meaning | example |\n|---|---|---|---|---|\n", section)
		}
		fallback := "`" + v.fallback + "`"
		if v.required {
			fallback = "–"
		}
		meaning, example, _ := strings.Cut(v.description, " Example: ")
		meaning = strings.TrimSuffix(meaning, ".")
		value := exampleValue.FindString(example)
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", v.name, cell(v.typ), cell(fallback), cell(meaning), cell("`"+value+"`"+strings.TrimPrefix(example, value)))
	}
	b.WriteString("\n")
	return b.String()
}

// exampleValue is the value at the start of an example; words may follow.
var exampleValue = regexp.MustCompile(`^(?:\[[^\]]*\]|\{[^}]*\}|"[^"]*"|[^\s,]+)`)

func cell(s string) string { return strings.ReplaceAll(s, "|", `\|`) }
