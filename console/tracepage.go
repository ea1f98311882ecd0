package console

import (
	"html/template"
	"net/http"

	"tailweir/otlp"
)

type tracePage struct {
	Head           template.HTML
	ID             string
	Policy, Reason string
	Started        string
	Fall           waterfall
	HidSpans       string
	ShownSpans     string
	HidLogs        string
	ShownLogs      string
}

func (c *Console) trace(w http.ResponseWriter, r *http.Request) {
	id, err := otlp.ParseTraceID(r.PathValue("id"))
	if err != nil {
		c.notice(w, http.StatusBadRequest, "Not a trace id", "A trace id has 32 hex digits; this one is "+text(r.PathValue("id"), 80)+".")
		return
	}
	t, ok := c.source.Trace(id)
	if !ok {
		c.notice(w, http.StatusNotFound, "No such trace here", "Trace "+id.String()+" was not kept by this worker, or is no longer among the latest ones it remembers.")
		return
	}
	var spans, logs otlp.Payload
	if err := scanTrace(&spans, &logs, t); err != nil {
		c.notice(w, http.StatusInternalServerError, "Trace not readable", err.Error())
		return
	}
	fall := draw(&spans, &logs)
	page := tracePage{
		Head: styleTag, ID: id.String(), Policy: text(t.Policy, 80), Reason: text(t.Reason, 80),
		Started: fall.Start.Format("2006-01-02 15:04:05.000 UTC"), Fall: fall,
	}
	if fall.HidSpans > 0 {
		page.ShownSpans, page.HidSpans = number(int64(fall.Spans-fall.HidSpans)), number(int64(fall.HidSpans))
	}
	if fall.HidLogs > 0 {
		page.ShownLogs, page.HidLogs = number(int64(fall.Logs-fall.HidLogs)), number(int64(fall.HidLogs))
	}
	render(w, http.StatusOK, "trace", page)
}

func scanTrace(spans, logs *otlp.Payload, t Trace) error {
	if err := spans.Scan(otlp.Traces, t.Spans); err != nil {
		return err
	}
	return logs.Scan(otlp.Logs, t.Logs)
}
