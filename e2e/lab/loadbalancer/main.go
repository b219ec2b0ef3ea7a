// Command loadbalancer stands in for the Envoy that kind puts before several
// control planes, as far as kind uses it: it is called as `envoy -c FILE`, and
// reads the files that FILE names, again whenever kind writes them
// (kind, pkg/cluster/internal/loadbalancer).
package main

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"sigs.k8s.io/yaml"
)

func main() {
	if len(os.Args) != 3 || os.Args[1] != "-c" {
		log.Fatal("usage: envoy -c FILE")
	}
	if err := run(os.Args[2]); err != nil {
		log.Fatal(err)
	}
}

type source struct {
	Path struct {
		Path string `json:"path"`
	} `json:"path_config_source"`
}

// address is Envoy's socket_address.
type address struct {
	Socket struct {
		Address string `json:"address"`
		Port    int    `json:"port_value"`
	} `json:"socket_address"`
}

func (a address) String() string {
	return net.JoinHostPort(a.Socket.Address, fmt.Sprint(a.Socket.Port))
}

func run(bootstrap string) error {
	var config struct {
		Dynamic struct {
			Clusters  source `json:"cds_config"`
			Listeners source `json:"lds_config"`
		} `json:"dynamic_resources"`
	}
	text, err := os.ReadFile(bootstrap)
	if err == nil {
		err = yaml.Unmarshal(text, &config)
	}
	if err != nil {
		return err
	}
	var b balancer
	go b.watchHealth()
	var clusters, listeners []byte
	for range time.Tick(200 * time.Millisecond) { // kind replaces the files
		now, _ := os.ReadFile(config.Dynamic.Clusters.Path.Path)
		if !bytes.Equal(now, clusters) {
			clusters = now
			if err := b.configure(now); err != nil {
				return err
			}
		}
		now, _ = os.ReadFile(config.Dynamic.Listeners.Path.Path)
		if !bytes.Equal(now, listeners) {
			listeners = now
			if err := b.listen(now); err != nil {
				return err
			}
		}
	}
	return nil
}

// balancer gives connections to the backends in turn.
type balancer struct {
	mu       sync.Mutex
	backends []string
	healthy  map[string]bool
	next     int
}

func (b *balancer) configure(text []byte) error {
	var document struct {
		Resources []struct {
			Assignment struct {
				Endpoints []struct {
					Backends []struct {
						Endpoint struct {
							Address address `json:"address"`
						} `json:"endpoint"`
					} `json:"lb_endpoints"`
				} `json:"endpoints"`
			} `json:"load_assignment"`
		} `json:"resources"`
	}
	if err := yaml.Unmarshal(text, &document); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.backends, b.healthy = nil, map[string]bool{}
	for _, r := range document.Resources {
		for _, e := range r.Assignment.Endpoints {
			for _, one := range e.Backends {
				b.backends = append(b.backends, one.Endpoint.Address.String())
			}
		}
	}
	return nil
}

func (b *balancer) listen(text []byte) error {
	var document struct {
		Resources []struct {
			Address address `json:"address"`
		} `json:"resources"`
	}
	if err := yaml.Unmarshal(text, &document); err != nil {
		return err
	}
	for _, r := range document.Resources {
		listener, err := net.Listen("tcp", r.Address.String())
		if err != nil {
			return err
		}
		log.Printf("listening on %s", r.Address)
		go func() {
			for {
				client, err := listener.Accept()
				if err != nil {
					log.Fatal(err)
				}
				go b.serve(client)
			}
		}()
	}
	return nil
}

// watchHealth asks every backend each second, as kind has Envoy do every two.
func (b *balancer) watchHealth() {
	client := &http.Client{Timeout: 3 * time.Second, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true, // only asked whether it is healthy
	}}
	for range time.Tick(time.Second) {
		b.mu.Lock()
		backends := b.backends
		b.mu.Unlock()
		for _, backend := range backends {
			go func() {
				response, err := client.Get("https://" + backend + "/healthz")
				if err == nil {
					response.Body.Close()
				}
				b.mu.Lock()
				defer b.mu.Unlock()
				b.healthy[backend] = err == nil && response.StatusCode == http.StatusOK
			}()
		}
	}
}

// choose is the next backend that is healthy; where none is known to be, the next
// of all, as Envoy does in its panic mode.
func (b *balancer) choose() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	for range b.backends {
		b.next = (b.next + 1) % len(b.backends)
		if b.healthy[b.backends[b.next]] {
			return b.backends[b.next]
		}
	}
	if len(b.backends) == 0 {
		return ""
	}
	b.next = (b.next + 1) % len(b.backends)
	return b.backends[b.next]
}

func (b *balancer) serve(client net.Conn) {
	defer client.Close()
	server, err := net.DialTimeout("tcp", b.choose(), 250*time.Millisecond)
	if err != nil {
		return
	}
	defer server.Close()
	done := make(chan struct{}, 2)
	for _, way := range [][2]net.Conn{{client, server}, {server, client}} {
		go func() {
			_, _ = io.Copy(way[0], way[1])
			done <- struct{}{}
		}()
	}
	<-done
}
