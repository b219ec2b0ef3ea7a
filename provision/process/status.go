package process

// Status is what there is of a process. Its JSON is part of devenv status.
type Status struct {
	Name string `json:"name"`
	// State is running, ended or absent.
	State string `json:"state"`
	PID   int    `json:"pid,omitempty"`
	// Log is the file that holds its output, and LastLines the end of it where
	// it ended.
	Log       string `json:"log"`
	LastLines string `json:"lastLines,omitempty"`
}

// Status looks at the process.
func (p *Process) Status() Status {
	status := Status{Name: p.Name, Log: p.Log(), State: "absent"}
	running, pid := p.Running()
	switch {
	case running:
		status.State, status.PID = "running", pid
	case pid != 0:
		status.State, status.LastLines = "ended", p.LastLines(5)
	}
	return status
}
