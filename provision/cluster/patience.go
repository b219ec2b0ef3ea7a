package cluster

import "fmt"

// patienceFolder below Spec.Files, and where its files are in a node.
const patienceFolder, systemdFolder = "systemd", "/etc/systemd/system"

// patienceFiles have a node take calls for the issuer before it runs, and put them
// through as soon as it does. An API server that finds nobody asks again only
// after ten seconds (k8s.io/apiserver, plugin/pkg/authenticator/token/oidc); one
// whose call is taken waits for its TLS handshake, for ten seconds too, and then
// asks again at once. So the call is held for longer than that. Once the issuer's
// Service is there, kube-proxy takes the calls before this does.
//
// Before 1.27 kube-proxy itself listened on the ports of Services.
func (s *Spec) patienceFiles() map[string]string {
	if s.IssuerPort == 0 || !s.atLeast("v1.27.0") {
		return nil
	}
	return map[string]string{
		patienceFolder + "/devenv-patience.service": fmt.Sprintf(`[Unit]
Description=Take calls for the issuer until it runs
Before=kubelet.service
[Service]
ExecStart=/usr/bin/socat TCP4-LISTEN:%d,bind=127.0.0.1,reuseaddr,fork TCP4:%%H:%[1]d,retry=300,interval=0.1
Restart=on-failure
RestartSec=1
`, s.IssuerPort),
		patienceFolder + "/multi-user.target.d/devenv.conf": "[Unit]\nWants=devenv-patience.service\n",
	}
}
