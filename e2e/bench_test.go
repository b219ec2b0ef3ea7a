package e2e

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/kind/pkg/cluster"

	"github.com/devenv-oidc/devenv/profiles"
	"github.com/devenv-oidc/devenv/provision/progress"
)

// BenchmarkFirstToken times, in turn, a bare `kind create` that waits for a
// ready node, and `devenv up` on both runtimes to the first token that the API
// server accepts. What counts are the ratios: these machines are never alone.
//
//	make bench
func BenchmarkFirstToken(b *testing.B) {
	image := nodeImage(b)
	runtimes := []string{profiles.RuntimeKind, profiles.RuntimeProcess}
	warm(b, runtimes)
	var bare []float64
	took := map[string]*figures{}
	for _, r := range runtimes {
		took[r] = &figures{steps: map[string][]float64{}}
	}
	for b.Loop() {
		bare = append(bare, bareKind(b, image))
		for _, r := range runtimes {
			took[r].add(timedUp(b, r), bare[len(bare)-1])
		}
	}
	b.ReportMetric(0, "ns/op") // a mean of all says nothing
	b.ReportMetric(median(bare), "bare-kind-s")

	var table strings.Builder
	fmt.Fprintf(&table, "bare kind %s, each in the order of the runs\n", list(bare))
	for _, r := range runtimes {
		f := took[r]
		b.ReportMetric(median(f.token), r+"-first-token-s")
		b.ReportMetric(median(f.proven), r+"-proven-s")
		b.ReportMetric(median(f.ratio), r+"-first-token/bare-kind")
		fmt.Fprintf(&table, "%s: first token %s, proven %s, ratio %s\n", r, list(f.token), list(f.proven), list(f.ratio))
		for _, step := range f.order {
			fmt.Fprintf(&table, "  %-13s median %5.1f s\n", step, median(f.steps[step]))
		}
	}
	fmt.Print("\n", table.String()) // b.Log would cut it
}

// figures are those of one runtime, in seconds.
type figures struct {
	token, proven, ratio []float64
	steps                map[string][]float64
	order                []string
}

func (f *figures) add(timings []progress.Timing, bare float64) {
	for _, t := range timings {
		if len(f.steps[t.Step]) == 0 {
			f.order = append(f.order, t.Step)
		}
		f.steps[t.Step] = append(f.steps[t.Step], t.Seconds)
		switch t.Step {
		case "token":
			f.token = append(f.token, t.At)
			f.ratio = append(f.ratio, t.At/bare)
		case "check":
			f.proven = append(f.proven, t.At)
		}
	}
}

// warm fills the caches: of images in the engine, and of programs.
func warm(b *testing.B, runtimes []string) {
	b.Helper()
	for _, r := range runtimes {
		timedUp(b, r)
	}
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

func timedUp(b *testing.B, runtime string) []progress.Timing {
	b.Helper()
	const name = "e2e-bench"
	defer must(b, "down", "--name", name)
	must(b, "up", "--name", name, "--runtime", runtime)
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
