//go:build linux

package process

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/devenv-oidc/devenv/provision/failure"
)

// sleeper is a process that does nothing; all of a test are ended with it.
func sleeper(t *testing.T, folder, name string, words ...string) *Process {
	t.Helper()
	t.Cleanup(func() {
		if _, err := StopAll(context.Background(), folder); err != nil {
			t.Error(err)
		}
	})
	return &Process{Folder: folder, Name: name, Program: "/bin/sleep", Args: append([]string{"sleep", "1000"}, words...)}
}

func shell(folder, name, script string) *Process {
	return &Process{Folder: folder, Name: name, Program: "/bin/sh", Args: []string{"sh", "-c", script}}
}

func ensure(t *testing.T, p *Process) (changed bool) {
	t.Helper()
	changed, err := p.Ensure(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return changed
}

func pid(t *testing.T, p *Process) int {
	t.Helper()
	running, pid := p.Running()
	if !running {
		t.Fatalf("%s does not run", p.Name)
	}
	return pid
}

func TestEnsureStartsOnceAndAnewWhenItDiffers(t *testing.T) {
	folder := t.TempDir()
	p := sleeper(t, folder, "one")
	if running, pid := p.Running(); running || pid != 0 {
		t.Error("it runs before it was started")
	}
	if !ensure(t, p) || ensure(t, p) {
		t.Error("the first Ensure must start it, the second find it")
	}
	first := pid(t, p)
	for _, other := range []*Process{sleeper(t, folder, "one", "1"), {Folder: folder, Name: "one", Program: p.Program, Args: p.Args, Inputs: "other"}} {
		if !ensure(t, other) || pid(t, other) == first {
			t.Error("with other arguments or inputs it is the old process")
		}
		first = pid(t, other)
	}
	if changed, err := p.Stop(t.Context()); !changed || err != nil {
		t.Errorf("stop: %v, %v", changed, err)
	}
	if changed, err := p.Stop(t.Context()); changed || err != nil {
		t.Errorf("second stop: %v, %v", changed, err)
	}
	if err := syscall.Kill(first, 0); err == nil {
		stat, _ := readStat(first)
		if !stat.ended {
			t.Error("it is still there")
		}
	}
}

func TestItIsDetachedAndKeepsNoSecrets(t *testing.T) {
	t.Setenv("SECRET", "hush")
	p := sleeper(t, t.TempDir(), "one")
	ensure(t, p)
	environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid(t, p)))
	if err != nil || strings.Contains(string(environ), "hush") {
		t.Errorf("%q, %v", environ, err)
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid(t, p)))
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(stat[strings.LastIndex(string(stat), ")")+1:]))
	if session := fields[3]; session != fmt.Sprint(pid(t, p)) {
		t.Errorf("it is of the session %s", session)
	}
	for _, file := range []string{p.Log(), p.recordPath()} {
		if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", file, info.Mode(), err)
		}
	}
}

// A later process that got the number is another: it is neither taken for the
// environment's nor ended.
func TestRecycledNumberIsNotTouched(t *testing.T) {
	bystander := exec.Command("/bin/sleep", "1000")
	if err := bystander.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- bystander.Wait() }()
	defer func() { _ = bystander.Process.Kill(); <-ended }()
	folder := t.TempDir()
	p := sleeper(t, folder, "one")
	ensure(t, p)
	genuine, err := readRecord(p.recordPath())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	theirs, err := readStat(bystander.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	for name, record := range map[string]Record{
		"another start":      {Name: "one", PID: bystander.Process.Pid, Started: theirs.started - 1, Boot: genuine.Boot, Executable: genuine.Executable},
		"another boot":       {Name: "one", PID: bystander.Process.Pid, Started: theirs.started, Boot: "other", Executable: genuine.Executable},
		"another executable": {Name: "one", PID: bystander.Process.Pid, Started: theirs.started, Boot: genuine.Boot, Executable: "/usr/bin/other"},
		"no process at all":  {Name: "one", PID: 1 << 22, Started: 1, Boot: genuine.Boot, Executable: genuine.Executable},
	} {
		if record.Alive() {
			t.Errorf("%s: it is taken for ours", name)
		}
		if err := record.stop(t.Context(), patience); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		write(t, p.recordPath(), record)
		if _, err := StopAll(t.Context(), folder); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	select {
	case <-ended:
		t.Error("the bystander was ended")
	default:
	}
	right := Record{Name: "one", PID: bystander.Process.Pid, Started: theirs.started, Boot: genuine.Boot, Executable: genuine.Executable}
	if !right.Alive() { // or the cases above prove nothing
		t.Error("the very same process is not known again")
	}
}

func write(t *testing.T, path string, r Record) {
	t.Helper()
	text := fmt.Sprintf(`{"name":%q,"pid":%d,"started":%d,"boot":%q,"executable":%q}`, r.Name, r.PID, r.Started, r.Boot, r.Executable)
	if err := writeFile(path, []byte(text)); err != nil {
		t.Fatal(err)
	}
}

// A devenv that was killed before it could write the record, or whose record
// is spoilt, leaves a process that is found all the same.
func TestStraysAreFound(t *testing.T) {
	folder := t.TempDir()
	p := sleeper(t, folder, "one")
	ensure(t, p)
	first := pid(t, p)
	if err := os.WriteFile(p.recordPath(), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	ensure(t, p)
	if second := pid(t, p); second == first {
		t.Error("the record is not of the new one")
	}
	if err := os.RemoveAll(filepath.Join(folder, recordsFolder)); err != nil {
		t.Fatal(err)
	}
	names, err := StopAll(t.Context(), folder)
	if err != nil || !slices.Equal(names, []string{"one"}) {
		t.Errorf("%v, %v", names, err)
	}
	if left := strays(folder + "/"); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	beside := sleeper(t, folder+"-beside", "one") // whose folder's name starts alike
	ensure(t, beside)
	if names, err := StopAll(t.Context(), folder); err != nil || len(names) > 0 {
		t.Errorf("ended %v, %v", names, err)
	}
	pid(t, beside)
}

func TestTheLastStartedIsEndedFirst(t *testing.T) {
	folder := t.TempDir()
	for _, name := range []string{"etcd", "api", "dex"} {
		p := sleeper(t, folder, name)
		ensure(t, p)
		record, err := readRecord(p.recordPath())
		if err != nil {
			t.Fatal(err)
		}
		// the clock has ticks of 10 ms
		eventually(t, "another tick", func() bool { return uptimeTicks(t) > record.Started+1 })
	}
	names, err := StopAll(t.Context(), folder)
	if err != nil || !slices.Equal(names, []string{"dex", "api", "etcd"}) {
		t.Errorf("%v, %v", names, err)
	}
}

func uptimeTicks(t *testing.T) uint64 {
	t.Helper()
	text, err := os.ReadFile("/proc/uptime")
	if err != nil {
		t.Fatal(err)
	}
	var seconds float64
	if _, err := fmt.Sscan(string(text), &seconds); err != nil {
		t.Fatal(err)
	}
	return uint64(seconds * 100)
}

func eventually(t *testing.T, what string, ask func() bool) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !ask() {
		if time.Now().After(deadline) {
			t.Fatalf("waited 10s for %s", what)
		}
		<-time.After(5 * time.Millisecond) // ask again
	}
}

func TestOneThatDoesNotListenIsKilled(t *testing.T) {
	old := patience
	patience = 200 * time.Millisecond
	defer func() { patience = old }()
	p := shell(t.TempDir(), "deaf", `trap "" TERM; echo up; while :; do sleep 0.1; done`)
	ensure(t, p)
	eventually(t, "its first word", func() bool { return p.LastLines(1) == "up" })
	if changed, err := p.Stop(t.Context()); !changed || err != nil {
		t.Errorf("%v, %v", changed, err)
	}
	if running, _ := p.Running(); running {
		t.Error("it runs on")
	}
}

func TestWhatEndedSaysWhy(t *testing.T) {
	folder := t.TempDir()
	p := shell(folder, "brief", "echo from before; exit 1")
	ensure(t, p)
	eventually(t, "it to end", func() bool { running, _ := p.Running(); return !running })
	p = shell(folder, "brief", "echo one; echo two; exit 3")
	ensure(t, p)
	err := p.WaitFor(t.Context(), "nothing", func(context.Context) error { return errors.New("not yet") })
	var ended *EndedError
	if !errors.As(err, &ended) || ended.Last != "one\ntwo" || ended.Name != "brief" {
		t.Errorf("%v", err)
	}
	p = shell(folder, "brief", "echo 'failed to listen on 127.0.0.1:2379: listen tcp 127.0.0.1:2379: bind: address already in use'; exit 1")
	ensure(t, p)
	err = p.WaitFor(t.Context(), "nothing", func(context.Context) error { return errors.New("not yet") })
	var taken *failure.PortTakenError
	if !errors.As(err, &taken) || taken.Port != 2379 {
		t.Errorf("%v", err)
	}
	p = sleeper(t, folder, "slow")
	ensure(t, p)
	ctx, cancel := context.WithTimeoutCause(t.Context(), 50*time.Millisecond, errors.New("the limit was reached"))
	defer cancel()
	err = p.WaitFor(ctx, "a miracle", func(context.Context) error { return errors.New("not yet") })
	if err == nil || !strings.HasPrefix(err.Error(), "the limit was reached while waiting for a miracle: not yet") {
		t.Errorf("%v", err)
	}
}

func TestNoProgramNoProcess(t *testing.T) {
	p := &Process{Folder: t.TempDir(), Name: "none", Program: "/nowhere/program", Args: []string{"program"}}
	if _, err := p.Ensure(t.Context()); err == nil || !strings.Contains(err.Error(), "could not start none") {
		t.Errorf("%v", err)
	}
}

// Who calls while the program is not there is answered by the program itself.
func TestHeldCallersAreAnswered(t *testing.T) {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := free.Addr().(*net.TCPAddr).Port
	free.Close()
	line, err := Hold(port)
	if err != nil {
		t.Fatal(err)
	}
	var taken *failure.PortTakenError
	if _, err := Hold(port); !errors.As(err, &taken) || taken.Port != port {
		t.Errorf("a second one could hold it: %v", err)
	}
	caller, err := net.Dial("tcp", line.address)
	if err != nil {
		t.Fatal(err)
	}
	defer caller.Close()
	fmt.Fprintln(caller, "who is there?")
	eventually(t, "the caller to be noticed", func() bool { line.mu.Lock(); defer line.mu.Unlock(); return len(line.waiting) == 1 })
	line.Release()
	program, err := net.Listen("tcp", line.address)
	if err != nil {
		t.Fatal(err)
	}
	defer program.Close()
	go func() {
		conn, err := program.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		question, _ := bufio.NewReader(conn).ReadString('\n')
		fmt.Fprintf(conn, "the program heard: %s", question)
	}()
	if err := line.Connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	_ = caller.SetReadDeadline(time.Now().Add(10 * time.Second))
	if answer, err := bufio.NewReader(caller).ReadString('\n'); answer != "the program heard: who is there?\n" {
		t.Errorf("%q, %v", answer, err)
	}
}
