package provision

import (
	"context"
	"errors"

	"github.com/devenv-oidc/devenv/profiles"
	"github.com/devenv-oidc/devenv/provision/bundle"
	"github.com/devenv-oidc/devenv/provision/cluster"
	"github.com/devenv-oidc/devenv/provision/failure"
	"github.com/devenv-oidc/devenv/provision/record"
	"github.com/devenv-oidc/devenv/provision/state"
)

// BundleRequest asks for a file with all that an environment is made of.
type BundleRequest struct {
	Profile *profiles.Environment
	// Runtime is auto, kind or process; empty for what the profile says.
	Runtime string
	// Sources is the path of a sources file; empty for the official sources.
	Sources string
	// Devenv is the program's version.
	Devenv string
	// File to write.
	File string
	// Say hears of each thing that is put in.
	Say func(what string)
}

// Bundle fetches what the profile needs and writes it to a file, which
// OpenBundle reads on a machine without a network. What is in the user's caches
// is not fetched again.
func Bundle(ctx context.Context, r BundleRequest) error {
	pins, err := profiles.PinnedWith(r.Sources)
	if err != nil {
		return failure.New(failure.Usage, err)
	}
	runtime, _, err := chooseRuntime(ctx, UpRequest{Profile: r.Profile, Runtime: r.Runtime}, nil)
	if err != nil {
		return err
	}
	if err := Validate(r.Profile); err != nil {
		return err
	}
	if err := record.CheckVersions(r.Profile, pins, runtime.Runtime); err != nil {
		return err
	}
	request := bundle.Request{Profile: r.Profile, Pins: pins, Sources: r.Sources, Runtime: runtime.Name, Devenv: r.Devenv, File: r.File, Say: r.Say}
	if runtime.Pods {
		if request.Engine, err = cluster.FindEngine(ctx, ""); err != nil {
			return failure.New(failure.Prerequisite, err)
		}
	}
	err = bundle.Write(ctx, request)
	var typed *failure.Error
	if err != nil && !errors.As(err, &typed) {
		return failure.New(failure.Prerequisite, err, "a bundle is written where the registries answer; a sources file (DEVENV_SOURCES) can name archives")
	}
	return err
}

// OpenBundle verifies a bundle and unpacks it into the user's cache. Its profile
// and its sources file are for an UpRequest.
func OpenBundle(ctx context.Context, file string) (*bundle.Opened, error) {
	cache, err := state.CacheFolder("bundles")
	if err != nil {
		return nil, err
	}
	opened, err := bundle.Open(ctx, file, cache)
	if err != nil {
		return nil, failure.New(failure.Usage, err, "write it again: devenv bundle FILE")
	}
	return opened, nil
}
