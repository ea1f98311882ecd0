package cloudtrace

import (
	"tailweir/exporter"
)

func (e *Exporter) verdict(project string) exporter.Table { return exporter.CodeVerdict }
