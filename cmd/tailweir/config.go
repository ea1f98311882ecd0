package main

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"tailweir/otelcol"
	"tailweir/sampler"
	"tailweir/service"
	"tailweir/strictyaml"
)

// readConfig reads a file that says policies, of any kind: Tailweir's own, a tail_sampling: block, what stands in such a block, or
// a collector's, whose processor it is then. compat is added to what the file says.
func readConfig(file, processor string, compat sampler.Compat) (service.Config, error) {
	src, err := os.ReadFile(file)
	if err != nil {
		return service.Config{}, err
	}
	return parseConfig(file, src, processor, compat)
}

func parseConfig(file string, src []byte, processor string, compat sampler.Compat) (cfg service.Config, err error) {
	cfg = service.Default()
	keys := topKeys(src)
	if otelcol.Is(keys) {
		return collectorPolicies(file, src, processor, compat)
	}
	if processor != "" {
		return cfg, fmt.Errorf("%s: --processor is for a collector's file, and this is none", file)
	}
	if slices.ContainsFunc(keys, sampler.IsOption) {
		if cfg.Compiled, err = sampler.ParseAs(compat, file, src); err == nil {
			err = follow(&cfg, file)
		}
		return cfg, err
	}
	cfg.Compat = compat
	if err = cfg.Parse(file, src); err == nil && cfg.Compat != "" && cfg.Policies == nil && cfg.Block == nil {
		err = fmt.Errorf("%s: compat: %s says how a collector's policies are read, and there are none", file, cfg.Compat)
	}
	return cfg, err
}

func collectorPolicies(file string, src []byte, processor string, compat sampler.Compat) (cfg service.Config, err error) {
	cfg = service.Default()
	f, err := otelcol.Parse(file, src)
	if err != nil {
		return cfg, err
	}
	s, err := f.Sampler(processor)
	if err != nil {
		return cfg, err
	}
	if cfg.Compiled, err = s.Policies(compat); err == nil {
		err = follow(&cfg, file)
	}
	return cfg, err
}

// follow has the window follow the options of a document of policies.
func follow(cfg *service.Config, file string) error {
	nothing := func(string) bool { return false }
	cfg.Warnings = cfg.Compiled.Warnings()
	for _, line := range cfg.Window.Adopt(cfg.Compiled.Options(), "window.", nothing) {
		cfg.Warnings = append(cfg.Warnings, file+": "+line)
	}
	if faults := cfg.WindowConfig().Validate(); len(faults) > 0 {
		return fmt.Errorf("%s: window.%s", file, strings.Join(faults, "; window."))
	}
	return nil
}

// topKeys is the keys of a document; none where it is not a mapping.
func topKeys(src []byte) (keys []string) {
	d := strictyaml.NewDecoder("")
	top := d.Document(src)
	if top == nil {
		return nil
	}
	pairs, _ := d.Mapping(top, "")
	for _, p := range pairs {
		keys = append(keys, p.Name)
	}
	return keys
}
