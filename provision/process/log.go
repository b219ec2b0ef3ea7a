package process

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// header starts every line of a Kubernetes program: Lmmdd hh:mm:ss.uuuuuu
// (k8s.io/klog/v2, in the file's head). It has no year.
var header = regexp.MustCompile(`^[IWEF](\d{4} \d{2}:\d{2}:\d{2}\.\d{6}) `)

// stamped puts the time before each line, as it is in a container's log. Lines
// without a header have the time of the one before.
func stamped(log string, now time.Time) string {
	var out strings.Builder
	last := ""
	for line := range strings.Lines(log) {
		if match := header.FindStringSubmatch(line); match != nil {
			if at, err := time.Parse("20060102 15:04:05.000000", now.UTC().Format("2006")+match[1]); err == nil {
				if at.After(now.Add(24 * time.Hour)) { // written before New Year
					at = at.AddDate(-1, 0, 0)
				}
				last = at.Format(time.RFC3339Nano)
			}
		}
		if last != "" {
			out.WriteString(last + " " + line)
		}
	}
	return out.String()
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

// CopyLog copies the process's log to a folder, if it has one.
func (p *Process) CopyLog(folder string) error {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return fmt.Errorf("could not copy a log: %w", err)
	}
	from, err := os.Open(p.Log())
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("could not copy a log: %w", err)
	}
	defer from.Close()
	to, err := os.OpenFile(filepath.Join(folder, filepath.Base(p.Log())), os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("could not copy a log: %w", err)
	}
	_, err = io.Copy(to, from)
	return errors.Join(err, to.Close())
}
