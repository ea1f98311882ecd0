package terraform_test

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// cremaConfig is what CREMA's configuration may have (its metric-provider/api/README.md and crema_config.go of November 2026), as far as we use
// it. CREMA reads it strictly: a field that it does not know is an error, and no worker is added any more.
type cremaConfig struct {
	APIVersion string `yaml:"apiVersion"`
	Kind       string
	Metadata   struct{ Name string }
	Spec       struct {
		PollingInterval        int `yaml:"pollingInterval"`
		TriggerAuthentications []struct {
			Metadata struct{ Name string }
			Spec     struct {
				PodIdentity struct{ Provider string } `yaml:"podIdentity"`
			}
		} `yaml:"triggerAuthentications"`
		ScaledObjects []struct {
			Spec struct {
				ScaleTargetRef  struct{ Name string } `yaml:"scaleTargetRef"`
				MinReplicaCount int                   `yaml:"minReplicaCount"`
				MaxReplicaCount int                   `yaml:"maxReplicaCount"`
				Triggers        []struct {
					Type, Name        string
					MetricType        string                `yaml:"metricType"`
					Metadata          map[string]string     // strings all: KEDA takes nothing else
					AuthenticationRef struct{ Name string } `yaml:"authenticationRef"`
				}
				Advanced struct {
					Config struct {
						Behavior struct {
							ScaleUp   *cremaScaling `yaml:"scaleUp"`
							ScaleDown *cremaScaling `yaml:"scaleDown"`
						} `yaml:"behavior"`
					} `yaml:"horizontalPodAutoscalerConfig"`
				}
			}
		} `yaml:"scaledObjects"`
	}
}

type cremaScaling struct {
	Window   int `yaml:"stabilizationWindowSeconds"`
	Policies []struct {
		Type          string
		Value         int
		PeriodSeconds int `yaml:"periodSeconds"`
	}
}

// The parameter in the plan is a configuration that CREMA knows and its validator takes.
func TestAutoscalerConfiguration(t *testing.T) {
	dir := t.TempDir()
	source, err := filepath.Abs(module)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "terraform.tfvars.example"), "")
	write(t, filepath.Join(dir, "main.tf"), fmt.Sprintf(`module "tailweir" {
  source             = %q
  project_id         = "my-observability"
  project_number     = "123456789012"
  region             = "europe-west1"
  image              = "europe-west1-docker.pkg.dev/my-observability/tailweir/tailweir:v1"
  worker_autoscaling = { min = 2, max = 20 }
}
`, source))
	var made struct {
		Values struct {
			Root struct {
				Children []struct {
					Resources []struct {
						Type   string
						Values struct {
							Data string `json:"parameter_data"`
						}
					}
				} `json:"child_modules"`
			} `json:"root_module"`
		} `json:"planned_values"`
	}
	if err := json.Unmarshal([]byte(plan(t, dir)), &made); err != nil {
		t.Fatal(err)
	}
	text := ""
	for _, m := range made.Values.Root.Children {
		for _, r := range m.Resources {
			if r.Type == "google_parameter_manager_parameter_version" {
				text = r.Values.Data
			}
		}
	}
	decoder := yaml.NewDecoder(strings.NewReader(text))
	decoder.KnownFields(true)
	var c cremaConfig
	if err := decoder.Decode(&c); err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	if c.APIVersion != "crema/v1" || c.Kind != "CremaConfig" || c.Spec.PollingInterval <= 0 || len(c.Spec.ScaledObjects) != 1 {
		t.Fatalf("not what CREMA asks for, or it would wait to be called:\n%s", text)
	}
	known := map[string]bool{}
	for _, a := range c.Spec.TriggerAuthentications {
		if a.Metadata.Name == "" || known[a.Metadata.Name] || a.Spec.PodIdentity.Provider != "gcp" {
			t.Errorf("authentication %+v", a)
		}
		known[a.Metadata.Name] = true
	}
	o := c.Spec.ScaledObjects[0].Spec
	if parts := strings.Split(o.ScaleTargetRef.Name, "/"); len(parts) != 6 || parts[0] != "projects" || parts[2] != "locations" || parts[4] != "workerpools" || slices.Contains(parts, "") {
		t.Errorf("CREMA's WorkloadInfoParser refuses %q", o.ScaleTargetRef.Name)
	}
	if o.MinReplicaCount < 1 || o.MaxReplicaCount < o.MinReplicaCount {
		t.Errorf("bounds %d and %d", o.MinReplicaCount, o.MaxReplicaCount)
	}
	if len(o.Triggers) != 1 || o.Triggers[0].Type != "prometheus" || !known[o.Triggers[0].AuthenticationRef.Name] {
		t.Fatalf("triggers %+v", o.Triggers)
	}
	for key, value := range o.Triggers[0].Metadata { // KEDA's prometheus scaler
		if !slices.Contains([]string{"serverAddress", "query", "threshold", "ignoreNullValues"}, key) || value == "" {
			t.Errorf("metadata %s: %q", key, value)
		}
	}
	if threshold, err := strconv.ParseFloat(o.Triggers[0].Metadata["threshold"], 64); err != nil || threshold <= 0 {
		t.Errorf("threshold %v, %v", threshold, err)
	}
	for _, b := range []*cremaScaling{o.Advanced.Config.Behavior.ScaleUp, o.Advanced.Config.Behavior.ScaleDown} {
		if b == nil || len(b.Policies) == 0 || b.Window < 0 || b.Window > 3600 { // without it CREMA forgets the bounds
			t.Fatalf("behavior %+v", b)
		}
		for _, p := range b.Policies {
			if p.Type != "Pods" && p.Type != "Percent" || p.Value <= 0 || p.PeriodSeconds <= 0 || p.PeriodSeconds > 1800 {
				t.Errorf("policy %+v", p)
			}
		}
	}
}
