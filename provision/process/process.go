// Package process runs programs that outlive the command that started them,
// and makes Kubernetes control planes out of them: no container engine, and so
// no pods. It needs Linux.
package process

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/devenv-oidc/devenv/provision/failure"
	"github.com/devenv-oidc/devenv/provision/kube"
)

// ErrUnsupported says that this system has no processes that could be owned
// safely.
var ErrUnsupported = errors.New("plain processes need Linux, this is " + runtime.GOOS)

// Supported says whether processes can be started here: ErrUnsupported or nil.
func Supported() error {
	if runtime.GOOS != "linux" {
		return ErrUnsupported
	}
	return nil
}

// Process is a program of an environment, running or not.
type Process struct {
	// Folder of the environment: its record goes to processes/<Name>.json
	// below it, what it says to logs/<Name>.log.
	Folder string
	// Name within the environment, such as "main.etcd".
	Name string
	// Program is the executable file.
	Program string
	// Args as the program sees them: the first is the name it is called by.
	Args []string
	// Env are more environment variables, KEY=value; the caller's are not passed
	// on.
	Env []string
	// Inputs is a fingerprint of what else the program reads when it starts: with
	// others it is another process.
	Inputs string
}

// EndedError says that a process has ended by itself.
type EndedError struct {
	Name string
	// Last are the last lines it wrote.
	Last string
}

func (e *EndedError) Error() string {
	if e.Last == "" {
		return e.Name + " ended without a word"
	}
	return fmt.Sprintf("%s ended; its last lines:\n  %s", e.Name, strings.ReplaceAll(e.Last, "\n", "\n  "))
}

// Is says that a full disk is why, where its last lines say so.
func (e *EndedError) Is(target error) bool {
	return target == syscall.ENOSPC && strings.Contains(e.Last, syscall.ENOSPC.Error())
}

const (
	// marker is in the environment of every process, so that one is found whose
	// record was never written.
	marker = "DEVENV_PROCESS"
	// maxLog is how long a log may be before it is put aside at a start.
	maxLog = 16 << 20
	// pollInterval is shorter than for containers: a start takes a second, and
	// asking starts no other process.
	pollInterval = 25 * time.Millisecond
)

// patience is how long a process has to end when it is asked to (an API server
// whose clients watch takes all of it), and haste the same where nothing of what
// it did is stored.
var patience, haste = 3 * time.Second, 300 * time.Millisecond

func (p *Process) recordPath() string { return recordPath(p.Folder, p.Name) }

// Log is the file that holds what the process says.
func (p *Process) Log() string { return filepath.Join(p.Folder, "logs", p.Name+".log") }

func (p *Process) command() string {
	sum := sha256.Sum256([]byte(p.Program + "\x00" + strings.Join(p.Args, "\x00") + "\x00" + p.Inputs))
	return hex.EncodeToString(sum[:8])
}

// Ensure makes the process run with these arguments: one that runs with others
// is stopped first. It does not wait until the program is of any use.
func (p *Process) Ensure(ctx context.Context) (changed bool, err error) {
	record, err := readRecord(p.recordPath())
	if err != nil {
		return false, err
	}
	if record != nil && record.Alive() {
		if record.Command == p.command() {
			return false, nil
		}
		if err := record.stop(ctx, patience); err != nil {
			return false, err
		}
	}
	if _, err := p.EndStrays(ctx); err != nil {
		return false, err
	}
	return true, p.start()
}

// EndStrays ends what runs in the process's name without its record: started
// by a devenv that was killed before it could write that down.
func (p *Process) EndStrays(ctx context.Context) (changed bool, err error) {
	if running, _ := p.Running(); running {
		return false, nil
	}
	for _, stray := range strays(filepath.Join(p.Folder, p.Name)) {
		changed = true
		if err := stray.stop(ctx, patience); err != nil {
			return changed, err
		}
	}
	return changed, nil
}

func (p *Process) start() error {
	fail := func(err error) error { return fmt.Errorf("could not start %s: %w", p.Name, err) }
	if err := Supported(); err != nil {
		return fail(err)
	}
	for _, folder := range []string{filepath.Dir(p.Log()), filepath.Dir(p.recordPath())} {
		if err := os.MkdirAll(folder, 0o700); err != nil {
			return fail(err)
		}
	}
	log, length, err := openLog(p.Log())
	if err != nil {
		return fail(err)
	}
	defer log.Close()
	executable, err := filepath.EvalSymlinks(p.Program)
	if err != nil {
		return fail(err)
	}
	c := &exec.Cmd{
		Path: p.Program, Args: p.Args, Dir: p.Folder, Stdout: log, Stderr: log,
		SysProcAttr: detached(),
		// nothing of the caller's: it lives longer, and its secrets are not ours
		Env: append([]string{"PATH=/usr/local/bin:/usr/bin:/bin", "HOME=" + p.Folder, "TZ=UTC", marker + "=" + filepath.Join(p.Folder, p.Name)}, p.Env...),
	}
	if err := c.Start(); err != nil {
		return fail(err)
	}
	go func() { _ = c.Wait() }() // or it would stay a zombie while this command runs
	// one that has ended already has no stat, and so a record that is nobody's:
	// whoever waits for it will say so
	stat, _ := readStat(c.Process.Pid)
	boot, err := bootID()
	if err != nil {
		return fail(err)
	}
	record := Record{
		Name: p.Name, PID: c.Process.Pid, Started: stat.started, Boot: boot,
		Executable: executable, Command: p.command(), LogStart: length,
	}
	text, err := json.Marshal(record)
	if err == nil {
		err = replaceFile(p.recordPath(), text)
	}
	if err != nil {
		_ = c.Process.Kill() // nobody would know of it
		return fail(err)
	}
	return nil
}

func replaceFile(path string, content []byte) error {
	if err := os.WriteFile(path+".new", content, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// Running says whether the process runs, and its number: 0 where none was ever
// started.
func (p *Process) Running() (running bool, pid int) {
	record, err := readRecord(p.recordPath())
	if err != nil || record == nil {
		return false, 0
	}
	return record.Alive(), record.PID
}

// Ended returns an *EndedError if the process does not run, or a
// *failure.PortTakenError if that is why.
func (p *Process) Ended() error {
	if running, _ := p.Running(); running {
		return nil
	}
	last := p.LastLines(8)
	if port := portIn(last); port != 0 {
		return &failure.PortTakenError{Port: port}
	}
	return &EndedError{Name: p.Name, Last: last}
}

// WaitFor asks until the answer is yes, the process has ended or the context
// ends; the error says what was waited for and what the process said last.
func (p *Process) WaitFor(ctx context.Context, what string, ask func(context.Context) error) error {
	var ended error
	err := kube.PollEvery(ctx, pollInterval, what, func(ctx context.Context) error {
		if ended = p.Ended(); ended != nil {
			return nil
		}
		return ask(ctx)
	})
	switch {
	case ended != nil:
		return ended
	case err != nil:
		return fmt.Errorf("%w; the last lines of %s:\n  %s", err, p.Name, strings.ReplaceAll(p.LastLines(5), "\n", "\n  "))
	}
	return nil
}

// Listens says whether somebody listens at an address: nil, or why not.
func Listens(ctx context.Context, address string) error {
	dialer := net.Dialer{Timeout: time.Second}
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	return conn.Close()
}

// LastLines are the last lines that the process wrote since it was started.
func (p *Process) LastLines(n int) string {
	from := int64(0)
	if record, err := readRecord(p.recordPath()); err == nil && record != nil {
		from = record.LogStart
	}
	text, err := readFrom(p.Log(), from, 64<<10)
	if err != nil {
		return ""
	}
	said, _, _ := strings.Cut(string(text), "\ngoroutine ") // a panic's reason stands before its stack
	lines := strings.Split(strings.TrimSpace(said), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// Stop ends the process and forgets it.
func (p *Process) Stop(ctx context.Context) (changed bool, err error) {
	record, err := readRecord(p.recordPath())
	if err != nil {
		return false, err
	}
	if record != nil && record.Alive() {
		changed = true
		if err := record.stop(ctx, patience); err != nil {
			return true, err
		}
	}
	strays, err := p.EndStrays(ctx)
	if err != nil {
		return changed || strays, err
	}
	changed = changed || strays
	if err := os.Remove(p.recordPath()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return changed, err
	}
	return changed, nil
}
