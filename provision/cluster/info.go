package cluster

import (
	"context"
	"encoding/json"
	"fmt"
)

// Info is what an engine says of itself; what it does not say is zero. The
// names are those of `docker info`.
type Info struct {
	ServerVersion string
	Driver        string // of storage
	CgroupVersion string
	NCPU          int
	MemTotal      int64 // bytes
	DockerRootDir string
}

// Info asks the engine.
func (e *Engine) Info(ctx context.Context) (Info, error) {
	text, err := e.output(ctx, "info", "--format", "{{json .}}")
	if err != nil {
		return Info{}, err
	}
	var info Info
	if err := json.Unmarshal([]byte(text), &info); err != nil {
		return Info{}, fmt.Errorf("could not read what %s info said: %w", e.Command, err)
	}
	return info, nil
}
