package service

import (
	"cmp"
	"time"

	"go.yaml.in/yaml/v3"

	"tailweir/sampler"
	"tailweir/strictyaml"
)

// Effective is a document that says all that counts, defaults included, and that Parse reads to the same settings.
func (c Config) Effective() []byte {
	c.Window.MaxHold = c.WindowConfig().Defaults().MaxHold
	exporters := append([]ExporterConfig(nil), c.Exporters...)
	for i := range exporters {
		e := &exporters[i]
		e.Signals, e.Required = e.signals(), new(e.required())
		switch e.Type {
		case "otlp":
			e.Compression, e.Timeout = cmp.Or(e.Compression, "gzip"), cmp.Or(e.Timeout, 10*time.Second)
		case "telemetry", "cloudtrace", "cloudlogging":
			e.Project = cmp.Or(e.Project, c.Project)
		}
	}
	c.Exporters = exporters
	c.Policies, c.Block, c.Compat = PoliciesOf(c.Compiled.Source())
	return strictyaml.Encode(c, true)
}

// PoliciesOf is the settings policies, tail_sampling and compat that say what source does, a sampler.Policies.Source: without a block
// where that has only policies in it.
func PoliciesOf(source []byte) (policies, block *yaml.Node, compat sampler.Compat) {
	d := strictyaml.NewDecoder("")
	block = &yaml.Node{Kind: yaml.MappingNode}
	pairs, _ := d.Mapping(d.Document(source), "")
	for _, p := range pairs {
		if p.Name == "compat" {
			compat = sampler.Compat(p.Value.Value)
			continue
		}
		block.Content = append(block.Content, p.Key, p.Value)
		policies = p.Value // the last
	}
	if len(block.Content) > 2 {
		return nil, block, compat
	}
	return policies, nil, compat
}
