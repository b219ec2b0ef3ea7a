//go:build !linux

package process

import (
	"os"
	"syscall"
)

// None of this is reached: Supported says no first.

var stopSignals []os.Signal

func detached() *syscall.SysProcAttr { return nil }

type stat struct {
	started uint64
	ended   bool
}

func readStat(int) (stat, error) { return stat{}, ErrUnsupported }

func bootID() (string, error) { return "", ErrUnsupported }

func strays(string) []Record { return nil }
