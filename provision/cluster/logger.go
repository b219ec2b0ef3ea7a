package cluster

import (
	"fmt"
	"io"
	"sync"

	"sigs.k8s.io/kind/pkg/log"
)

// fileLogger writes everything kind says, kubeadm's output included, to a
// file.
type fileLogger struct {
	mu *sync.Mutex
	w  io.Writer
}

var _ log.Logger = fileLogger{}

func (l fileLogger) line(message string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	fmt.Fprintln(l.w, message)
}

func (l fileLogger) Warn(message string)            { l.line("warning: " + message) }
func (l fileLogger) Warnf(format string, a ...any)  { l.Warn(fmt.Sprintf(format, a...)) }
func (l fileLogger) Error(message string)           { l.line("error: " + message) }
func (l fileLogger) Errorf(format string, a ...any) { l.Error(fmt.Sprintf(format, a...)) }
func (l fileLogger) V(log.Level) log.InfoLogger     { return fileInfo{l} }

type fileInfo struct{ l fileLogger }

func (i fileInfo) Info(message string)           { i.l.line(message) }
func (i fileInfo) Infof(format string, a ...any) { i.Info(fmt.Sprintf(format, a...)) }
func (i fileInfo) Enabled() bool                 { return true }
