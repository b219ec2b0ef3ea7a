//go:build unix

package diagnosis

import "syscall"

// freeSpace is what an unprivileged user can still write, in bytes.
func freeSpace(folder string) (int64, error) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(folder, &s); err != nil {
		return 0, err
	}
	return int64(s.Bavail) * int64(s.Bsize), nil
}
