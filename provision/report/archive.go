package report

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/devenv-oidc/devenv/profiles"
	"github.com/devenv-oidc/devenv/provision/failure"
)

// Names of the two files by which a report is read: by people, and by devenv.
const (
	pageFile   = "report.html"
	reportFile = "report.json"
)

// write makes the archive: a zip, because every system opens one.
func (c *collector) write(name string) error {
	clean, text, err := c.redacted()
	if err != nil {
		return err
	}
	page, err := clean.page()
	if err != nil {
		return err
	}
	out, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return failure.New(failure.Usage, fmt.Errorf("could not write the report: %w", err), "name another file: devenv report FILE")
	}
	archive := zip.NewWriter(out)
	folder := strings.TrimSuffix(filepath.Base(name), ".zip") + "/"
	for _, f := range append([]file{{pageFile, page}, {reportFile, text}}, c.files...) {
		entry, createErr := archive.CreateHeader(&zip.FileHeader{Name: folder + f.name, Method: zip.Deflate, Modified: clean.Created})
		if createErr == nil {
			_, createErr = entry.Write(f.text)
		}
		err = errors.Join(err, createErr)
	}
	if err = errors.Join(err, archive.Close(), out.Close()); err != nil {
		return errors.Join(fmt.Errorf("could not write the report %s: %w", name, err), os.Remove(name))
	}
	return nil
}

// Limits of what is read: an archive comes from somebody else.
const (
	archiveLimit = 32 << 20
	entriesLimit = 10_000
	reportLimit  = 8 << 20
)

// Read reads an archive that Write made. It reads one file of it, into memory,
// and writes nothing. Errors are of class Usage.
func Read(name string) (*Report, error) {
	r, err := read(name)
	if err != nil {
		return nil, failure.New(failure.Usage, fmt.Errorf("could not read the report %s: %w", name, err), "a report is a zip that devenv report wrote")
	}
	return r, nil
}

func read(name string) (*Report, error) {
	in, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	info, err := in.Stat()
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, errors.New("it is no regular file")
	case info.Size() > archiveLimit:
		return nil, fmt.Errorf("it has more than %d MiB", archiveLimit>>20)
	}
	text, err := io.ReadAll(io.LimitReader(in, archiveLimit))
	if err != nil {
		return nil, err
	}
	return parse(text)
}

// parse reads a report from an archive's bytes.
func parse(text []byte) (*Report, error) {
	archive, err := zip.NewReader(bytes.NewReader(text), int64(len(text)))
	if err != nil && !errors.Is(err, zip.ErrInsecurePath) { // paths are never used
		return nil, err
	}
	if len(archive.File) > entriesLimit {
		return nil, fmt.Errorf("it has more than %d files", entriesLimit)
	}
	var found *zip.File
	for _, f := range archive.File {
		if f.Name != reportFile && !(strings.HasSuffix(f.Name, "/"+reportFile) && strings.Count(f.Name, "/") == 1) {
			continue
		}
		if found != nil {
			return nil, fmt.Errorf("it has %s twice", reportFile)
		}
		found = f
	}
	if found == nil {
		return nil, fmt.Errorf("it has no %s", reportFile)
	}
	if !found.Mode().IsRegular() {
		return nil, fmt.Errorf("its %s is no regular file", reportFile)
	}
	content, err := found.Open()
	if err != nil {
		return nil, err
	}
	defer content.Close()
	text, err = io.ReadAll(io.LimitReader(content, reportLimit+1))
	if err != nil {
		return nil, err
	}
	if len(text) > reportLimit {
		return nil, fmt.Errorf("its %s has more than %d MiB", reportFile, reportLimit>>20)
	}
	return decode(text)
}

func decode(text []byte) (*Report, error) {
	var r Report
	if err := json.Unmarshal(text, &r); err != nil {
		return nil, fmt.Errorf("its %s: %w", reportFile, err)
	}
	if r.Version != version {
		return nil, fmt.Errorf("it has the format %d, and this devenv knows %d", r.Version, version)
	}
	profile, err := json.Marshal(r.Profile)
	if err != nil {
		return nil, err
	}
	valid, err := profiles.Parse("of the report", profile)
	if err != nil {
		return nil, err
	}
	r.Profile = *valid
	return &r, nil
}
