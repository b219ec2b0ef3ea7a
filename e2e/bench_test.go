package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/kind/pkg/cluster"

	"github.com/devenv-oidc/devenv/profiles"
	"github.com/devenv-oidc/devenv/provision/state"
)

// BenchmarkFirstToken times, in turn, a bare `kind create` that waits for a
// ready node, and `devenv up` to the first token that the API server accepts.
// What counts is the ratio: these machines are never alone.
//
//	make bench
func BenchmarkFirstToken(b *testing.B) {
	pins, err := profiles.PinnedWith(os.Getenv("DEVENV_SOURCES"))
	if err != nil {
		b.Fatal(err)
	}
	image := pins.NodeImages[pins.DefaultKubernetes].Image
	var bare, token, total, ratio []float64
	steps := map[string][]float64{}
	for b.Loop() {
		bare = append(bare, bareKind(b, image))
		s := timedUp(b)
		for _, t := range s {
			steps[t.Step] = append(steps[t.Step], t.Seconds)
			if t.Step == "token" {
				token = append(token, t.At)
			}
			if t.Step == "check" {
				total = append(total, t.At)
			}
		}
		ratio = append(ratio, token[len(token)-1]/bare[len(bare)-1])
	}
	b.ReportMetric(median(bare), "bare-kind-s")
	b.ReportMetric(median(token), "first-token-s")
	b.ReportMetric(median(total), "proven-s")
	b.ReportMetric(median(ratio), "first-token/bare-kind")
	b.ReportMetric(0, "ns/op") // a mean of both says nothing

	var table strings.Builder
	fmt.Fprintf(&table, "bare kind %s, first token %s, ratio %s, each in the order of the runs\n", list(bare), list(token), list(ratio))
	for _, name := range []string{"node-image", "node", "images", "api-server", "dns", "access", "dex", "cluster", "issuer", "seed", "token", "cert-manager", "renewal", "check"} {
		fmt.Fprintf(&table, "  %-13s median %5.1f s\n", name, median(steps[name]))
	}
	fmt.Print("\n", table.String()) // b.Log would cut it
}

func bareKind(b *testing.B, image string) float64 {
	b.Helper()
	const name = "devenv-e2e-bare"
	provider := cluster.NewProvider(cluster.ProviderWithDocker())
	kubeconfig := filepath.Join(home, "bare.kubeconfig")
	began := time.Now()
	err := provider.Create(name, cluster.CreateWithNodeImage(image), cluster.CreateWithKubeconfigPath(kubeconfig), cluster.CreateWithWaitForReady(2*time.Minute))
	took := time.Since(began).Seconds()
	if deleteErr := provider.Delete(name, kubeconfig); deleteErr != nil {
		b.Error(deleteErr)
	}
	if err != nil {
		b.Fatal(err)
	}
	return took
}

func timedUp(b *testing.B) []state.Timing {
	b.Helper()
	const name = "e2e-bench"
	defer must(b, "down", "--name", name)
	must(b, "up", "--name", name)
	return statusOf(b, name).Timings
}

func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}

func list(values []float64) string {
	var texts []string
	for _, v := range values {
		texts = append(texts, fmt.Sprintf("%.2f", v))
	}
	return strings.Join(texts, " ")
}
