package state

import (
	"fmt"
	"os"
	"path/filepath"
)

// LogFile is a log that creates its file, and the folder, at the first write.
// It is not safe for several goroutines at once.
type LogFile struct {
	Path string
	file *os.File
}

// Write implements io.Writer; the first call truncates what an earlier command
// wrote.
func (l *LogFile) Write(p []byte) (int, error) {
	if l.file == nil {
		if err := os.MkdirAll(filepath.Dir(l.Path), 0o700); err != nil {
			return 0, err
		}
		f, err := os.OpenFile(l.Path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
		if err != nil {
			return 0, err
		}
		l.file = f
	}
	return l.file.Write(p)
}

// Printf writes one line.
func (l *LogFile) Printf(format string, args ...any) { fmt.Fprintf(l, format+"\n", args...) }

// CacheFolder is where downloads of one sort are stored for all environments:
// devenv/<of> in the user's cache folder.
func CacheFolder(of string) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("could not find the cache folder: %w", err)
	}
	return filepath.Join(cache, "devenv", of), nil
}
