package console

import (
	"bytes"
	"embed"
	"html/template"
	"net/http"
)

//go:embed assets
var assets embed.FS

// The style sheet and the script are in the page itself, verbatim, because the policy names them by
// their hashes.
var (
	styleSheet    = asset("console.css")
	refreshScript = asset("refresh.js")
	styleTag      = template.HTML("<style>" + styleSheet + "</style>")
	scriptTag     = template.HTML("<script>" + refreshScript + "</script>")
	pages         = template.Must(template.ParseFS(assets, "assets/*.html"))
)

func asset(name string) string {
	b, err := assets.ReadFile("assets/" + name)
	if err != nil {
		panic(err) // the embedded tree is fixed when the program is built
	}
	return string(b)
}

// render writes a page whole or not at all: a template that fails half way answers 500.
func render(w http.ResponseWriter, code int, page string, data any) {
	var b bytes.Buffer
	if err := pages.ExecuteTemplate(&b, page, data); err != nil {
		http.Error(w, "console: render "+page+": "+err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(code)
	w.Write(b.Bytes())
}
