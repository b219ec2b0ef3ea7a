package process

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/devenv-oidc/devenv/provision/kube"
)

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

const recordsFolder = "processes"

func recordPath(folder, name string) string {
	return filepath.Join(folder, recordsFolder, name+".json")
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

// records are what is remembered of an environment's processes, in the order
// in which they were started.
func records(folder string) ([]Record, error) {
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

// StopAll ends every process of an environment but its reaper, the last started
// first, also those without a record. names are those that ran.
func StopAll(ctx context.Context, folder string) (names []string, err error) {
	if Supported() != nil {
		return nil, nil // none was ever started
	}
	all, err := records(folder)
	if err != nil {
		return nil, err
	}
	slices.Reverse(all)
	for _, r := range append(all, strays(folder+string(filepath.Separator))...) {
		if !r.Alive() || filepath.Base(r.Name) == Reaper { // which is needed until all is gone
			continue
		}
		if err := r.stop(ctx, haste); err != nil {
			return names, err
		}
		names = append(names, r.Name)
	}
	return names, os.RemoveAll(filepath.Join(folder, recordsFolder))
}

// Reaper is the name of the process that deletes an environment when its time is
// over. It is nobody's data: where nothing else is left, nothing is.
const Reaper = "reaper"

// StopReaper ends an environment's reaper, unless it is this very process.
func StopReaper(ctx context.Context, folder string) error {
	var failed error
	for _, r := range strays(filepath.Join(folder, Reaper)) {
		if r.PID != os.Getpid() {
			failed = errors.Join(failed, r.stop(ctx, haste))
		}
	}
	return failed
}

// MarkedUnder lists the folders below dir, each with the process's name, of the
// processes that run there, whether the folders still exist or not.
func MarkedUnder(dir string) []string {
	var list []string
	for _, r := range strays(dir + string(filepath.Separator)) {
		if filepath.Base(r.Name) == Reaper {
			continue
		}
		list = append(list, filepath.Join(dir, r.Name))
	}
	return list
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
	for i, signal := range stopSignals {
		if i > 0 { // nothing can be asked any more, only waited for
			patience = max(patience, 10*time.Second)
		}
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
