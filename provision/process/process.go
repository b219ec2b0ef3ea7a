// Package process runs programs that outlive the command that started them,
// and makes Kubernetes control planes out of them: no container engine, and so
// no pods. It needs Linux.
package process

import (
	"bytes"
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
	"slices"
	"strings"
	"time"

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
	// Inputs is a fingerprint of what else the program reads when it starts: with
	// others it is another process.
	Inputs string
}

// Record is what is remembered of a process that was started: enough to tell
// it from any later one with its number.
type Record struct {
	Name string `json:"name"`
	PID  int    `json:"pid"`
	// Started is the start in clock ticks after the boot (proc_pid_stat(5),
	// field 22), and Boot the id of that boot.
	Started uint64 `json:"started"`
	Boot    string `json:"boot"`
	// Executable is the program with every link followed.
	Executable string `json:"executable"`
	// Command is a fingerprint of the program and its arguments.
	Command string `json:"command"`
	// LogStart is the length of the log when the process was started.
	LogStart int64 `json:"logStart"`
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

// PortTakenError says that another program listens on a port.
type PortTakenError struct{ Port int }

func (e *PortTakenError) Error() string {
	return fmt.Sprintf("port %d on 127.0.0.1 is taken", e.Port)
}

const (
	recordsFolder = "processes"
	// marker is in the environment of every process, so that one is found whose
	// record was never written.
	marker = "DEVENV_PROCESS"
	// maxLog is how long a log may be before it is put aside at a start.
	maxLog = 16 << 20
	// pollInterval is shorter than for containers: a start takes a second, and
	// asking starts no other process.
	pollInterval = 25 * time.Millisecond
)

// patience is how long a process may take to end when it is asked to, and
// haste the same where nothing is kept of what it did.
var patience, haste = 10 * time.Second, 300 * time.Millisecond

func (p *Process) recordPath() string { return recordPath(p.Folder, p.Name) }

func recordPath(folder, name string) string {
	return filepath.Join(folder, recordsFolder, name+".json")
}

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
	for _, stray := range strays(filepath.Join(p.Folder, p.Name)) {
		if err := stray.stop(ctx, patience); err != nil { // started by a devenv that was killed before it could write that down
			return false, err
		}
	}
	return true, p.start()
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
		Env: []string{"PATH=/usr/local/bin:/usr/bin:/bin", "HOME=" + p.Folder, "TZ=UTC", marker + "=" + filepath.Join(p.Folder, p.Name)},
	}
	if err := c.Start(); err != nil {
		return fail(err)
	}
	go func() { _ = c.Wait() }() // or it would stay a zombie while this command runs
	stat, err := readStat(c.Process.Pid)
	if err != nil {
		return nil // ended at once; whoever waits for it will say so
	}
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

// openLog opens a log to append to; a long one is put aside.
func openLog(path string) (log *os.File, length int64, err error) {
	if info, err := os.Stat(path); err == nil && info.Size() > maxLog {
		if err := os.Rename(path, path+".old"); err != nil {
			return nil, 0, err
		}
	}
	log, err = os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, 0, err
	}
	info, err := log.Stat()
	if err != nil {
		log.Close()
		return nil, 0, err
	}
	return log, info.Size(), nil
}

func replaceFile(path string, content []byte) error {
	if err := os.WriteFile(path+".new", content, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// readRecord reads a record; nil where there is none. One that is no record
// counts as none: what it stood for is found by its marker.
func readRecord(path string) (*Record, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("could not read what runs: %w", err)
	}
	var r Record
	if err := json.Unmarshal(text, &r); err != nil || r.PID <= 1 {
		return nil, nil
	}
	return &r, nil
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
// *PortTakenError if that is why.
func (p *Process) Ended() error {
	if running, _ := p.Running(); running {
		return nil
	}
	last := p.LastLines(8)
	if port := portIn(last); port != 0 {
		return &PortTakenError{Port: port}
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
	for _, stray := range strays(filepath.Join(p.Folder, p.Name)) {
		changed = true
		if err := stray.stop(ctx, patience); err != nil {
			return true, err
		}
	}
	if err := os.Remove(p.recordPath()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return changed, err
	}
	return changed, nil
}

// Records are what is remembered of an environment's processes, in the order
// in which they were started.
func Records(folder string) ([]Record, error) {
	files, err := filepath.Glob(filepath.Join(folder, recordsFolder, "*.json"))
	if err != nil {
		return nil, err
	}
	var list []Record
	for _, file := range files {
		record, err := readRecord(file)
		if err != nil {
			return nil, err
		}
		if record != nil {
			list = append(list, *record)
		}
	}
	slices.SortFunc(list, func(a, b Record) int { return int(int64(a.Started) - int64(b.Started)) })
	return list, nil
}

// StopAll ends every process of an environment that goes away, the last started
// first, also those whose records are gone. names are those that ran.
func StopAll(ctx context.Context, folder string) (names []string, err error) {
	if Supported() != nil {
		return nil, nil // none was ever started
	}
	records, err := Records(folder)
	if err != nil {
		return nil, err
	}
	slices.Reverse(records)
	for _, r := range append(records, strays(folder+string(filepath.Separator))...) {
		if !r.Alive() {
			continue
		}
		if err := r.stop(ctx, haste); err != nil {
			return names, err
		}
		names = append(names, r.Name)
	}
	return names, os.RemoveAll(filepath.Join(folder, recordsFolder))
}

// Alive says whether this very process runs: a later one that got its number
// is another.
func (r *Record) Alive() bool {
	boot, err := bootID()
	if err != nil || boot != r.Boot {
		return false
	}
	stat, err := readStat(r.PID)
	if err != nil || stat.started != r.Started || stat.ended {
		return false
	}
	executable, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", r.PID))
	return err == nil && strings.TrimSuffix(executable, " (deleted)") == r.Executable
}

// there says whether anything is left of the process: while it ends it has no
// executable any more, and still its ports.
func (r *Record) there() bool {
	stat, err := readStat(r.PID)
	return err == nil && stat.started == r.Started && !stat.ended
}

// stop asks the process to end, and makes it end when it does not. The handle
// is taken before the process is looked at (pidfd_open(2)), so that a signal
// never goes to another one that got the number meanwhile.
func (r *Record) stop(ctx context.Context, patience time.Duration) error {
	fail := func(err error) error { return fmt.Errorf("could not stop %s, process %d: %w", r.Name, r.PID, err) }
	handle, err := os.FindProcess(r.PID)
	if err != nil || !r.Alive() {
		return nil
	}
	defer func() { _ = handle.Release() }()
	for _, signal := range stopSignals {
		if err := handle.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return fail(err)
		}
		limited, cancel := context.WithTimeoutCause(ctx, patience, errStillThere)
		err = kube.PollEvery(limited, 10*time.Millisecond, "it to end", func(context.Context) error {
			if r.there() {
				return errStillThere
			}
			return nil
		})
		cancel()
		if err == nil || ctx.Err() != nil {
			break
		}
	}
	if err != nil {
		return fail(err)
	}
	return nil
}

var errStillThere = errors.New("it is still there")

// portIn finds the port of which a program says that somebody else has it.
func portIn(text string) int {
	i := strings.LastIndex(text, ": bind: address already in use")
	if i < 0 {
		return 0
	}
	var port int
	if j := strings.LastIndex(text[:i], ":"); j >= 0 {
		_, _ = fmt.Sscanf(text[j+1:i], "%d", &port)
	}
	return port
}

// readFrom reads a file from an offset, but no more than its last limit bytes.
func readFrom(path string, from, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	from = max(from, info.Size()-limit)
	if from > info.Size() {
		from = 0
	}
	var text bytes.Buffer
	if _, err := f.Seek(from, 0); err != nil {
		return nil, err
	}
	_, err = text.ReadFrom(f)
	return text.Bytes(), err
}
