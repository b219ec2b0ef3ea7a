package process

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"syscall"

	"github.com/devenv-oidc/devenv/provision/failure"
)

// Line holds a port for a binary that cannot start yet: whoever connects is
// left waiting, and is answered by the binary itself as soon as it listens.
//
// The API server looks for the issuer when it boots, and then only every ten
// seconds (k8s.io/apiserver, plugin/pkg/authenticator/token/oidc); the issuer
// stores its state in the API server and so must start after it. With its
// connection held, the API server gets its answer at once.
type Line struct {
	address  string
	listener net.Listener

	mu      sync.Mutex
	waiting []net.Conn
	done    sync.WaitGroup
}

// Hold takes a port of the loopback; a *failure.PortTakenError says that it is not free.
func Hold(port int) (*Line, error) {
	l := &Line{address: fmt.Sprintf("127.0.0.1:%d", port)}
	var err error
	if l.listener, err = net.Listen("tcp", l.address); err != nil {
		if errors.Is(err, syscall.EADDRINUSE) {
			return nil, &failure.PortTakenError{Port: port}
		}
		return nil, err
	}
	l.done.Go(func() {
		for {
			conn, err := l.listener.Accept()
			if err != nil {
				return
			}
			l.mu.Lock()
			l.waiting = append(l.waiting, conn)
			l.mu.Unlock()
		}
	})
	return l, nil
}

// Release gives the port up, so that the program can have it. Those that wait
// go on waiting.
func (l *Line) Release() {
	l.listener.Close()
	l.done.Wait()
}

// Connect puts everybody who waits through to the program, which listens now.
func (l *Line) Connect(ctx context.Context) error {
	var failed error
	for _, caller := range l.waiting {
		dialer := net.Dialer{}
		program, err := dialer.DialContext(ctx, "tcp", l.address)
		if err != nil {
			caller.Close()
			failed = errors.Join(failed, err)
			continue
		}
		go join(caller, program)
		go join(program, caller)
	}
	l.waiting = nil
	return failed
}

// Drop gives up the port and everybody who waits.
func (l *Line) Drop() {
	l.Release()
	for _, conn := range l.waiting {
		conn.Close()
	}
	l.waiting = nil
}

func join(to, from net.Conn) {
	_, _ = io.Copy(to, from)
	to.Close()
}
