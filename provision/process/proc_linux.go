package process

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// stopSignals in the order in which they are tried.
var stopSignals = []os.Signal{syscall.SIGTERM, syscall.SIGKILL}

// detached starts a program in a session of its own: it gets no Ctrl-C, and
// outlives the terminal.
func detached() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }

// stat is what is read of /proc/PID/stat.
type stat struct {
	started uint64
	ended   bool // every thread of it, and not yet collected by its parent
}

// readStat reads proc_pid_stat(5). The name in the second field may hold
// anything, so the fields are counted from its closing bracket.
func readStat(pid int) (stat, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return stat{}, err
	}
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:])) // from the third on
	if len(fields) < 20 {
		return stat{}, errors.New("/proc has no stat as Linux writes it")
	}
	started, err := strconv.ParseUint(fields[19], 10, 64)
	// the first thread may be a zombie while others still hold the ports
	return stat{started: started, ended: strings.Contains("ZXx", fields[0]) && (fields[17] == "0" || fields[17] == "1")}, err
}

// bootID tells boots apart: clock ticks and process numbers start again.
func bootID() (string, error) {
	text, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(text)), err
}

// strays finds running processes whose marker starts with a path, or is it.
func strays(path string) []Record {
	folders, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil
	}
	boot, err := bootID()
	if err != nil {
		return nil
	}
	var list []Record
	for _, folder := range folders {
		environ, err := os.ReadFile(filepath.Join(folder, "environ")) // of this user's alone
		if err != nil {
			continue
		}
		name, ok := markedAs(environ, path)
		pid, atoiErr := strconv.Atoi(filepath.Base(folder))
		stat, statErr := readStat(pid)
		executable, linkErr := os.Readlink(filepath.Join(folder, "exe"))
		if ok && errors.Join(atoiErr, statErr, linkErr) == nil && !stat.ended {
			list = append(list, Record{Name: name, PID: pid, Started: stat.started, Boot: boot, Executable: strings.TrimSuffix(executable, " (deleted)")})
		}
	}
	return list
}

// markedAs reads the marker in a process's environment: the name behind the
// path, where the path ends in a slash, or the path's own last element.
func markedAs(environ []byte, path string) (name string, ok bool) {
	for variable := range bytes.SplitSeq(environ, []byte{0}) {
		value, found := strings.CutPrefix(string(variable), marker+"=")
		if !found {
			continue
		}
		if strings.HasSuffix(path, "/") {
			return strings.CutPrefix(value, path)
		}
		return filepath.Base(path), value == path
	}
	return "", false
}
