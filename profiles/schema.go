package profiles

// Schema returns the JSON schema of a profile. It is generated from the Go
// types: `go test ./profiles -run TestSchema -update`.
func Schema() []byte { return schemaJSON }
