package identity

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/dexidp/dex/api/v2"
	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"github.com/devenv-oidc/devenv/profiles"
	"github.com/devenv-oidc/devenv/provision/kube"
)

// bcryptCost is the least that Dex accepts (10 to 16, checked at every login):
// a test environment's passwords are in a file beside it anyway.
const bcryptCost = 10

var passwords = schema.GroupVersionResource{Group: "dex.coreos.com", Version: "v1", Resource: "passwords"}

// EnsureUsers makes Dex have these users, as they are given. Every password must
// be filled in. Others are left alone; PruneUsers deletes those that devenv made.
//
// Groups and emailVerified are not in the gRPC API (dexidp/dex#4972): they are
// patched into Dex's stored object.
func (a *Admin) EnsureUsers(ctx context.Context, users []profiles.User, hashes *Hashes) (changed bool, err error) {
	stored, err := a.storedPasswords(ctx)
	if err != nil {
		return false, err
	}
	written, err := eachUser(ctx, users, "seed the user", func(ctx context.Context, u profiles.User) (bool, error) {
		return a.ensurePassword(ctx, u, stored[strings.ToLower(u.Email)], hashes)
	})
	if err != nil {
		return written, err
	}
	if written {
		if stored, err = a.storedPasswords(ctx); err != nil {
			return true, err
		}
	}
	patched, err := eachUser(ctx, users, "set the groups of the user", func(ctx context.Context, u profiles.User) (bool, error) {
		return a.ensureAttributes(ctx, u, stored[strings.ToLower(u.Email)])
	})
	return written || patched, err
}

// atATime is how many users are worked on at a time, for each processor: bcrypt
// keeps one busy, and others meanwhile wait for Dex to write.
const atATime = 4

// eachUser runs a function for every user, several at a time.
func eachUser(ctx context.Context, users []profiles.User, what string, do func(context.Context, profiles.User) (bool, error)) (changed bool, err error) {
	var did atomic.Bool
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(atATime * runtime.GOMAXPROCS(0))
	for _, u := range users {
		group.Go(func() error {
			changed, err := do(ctx, u)
			if changed {
				did.Store(true)
			}
			if err != nil {
				return fmt.Errorf("could not %s %q: %w", what, u.Email, err)
			}
			return nil
		})
	}
	err = group.Wait()
	return did.Load(), err
}

// ensurePassword compares with Dex's stored object, which Dex itself reads at
// every login.
func (a *Admin) ensurePassword(ctx context.Context, want profiles.User, stored *unstructured.Unstructured, hashes *Hashes) (changed bool, err error) {
	if stored == nil {
		hash, err := hashes.hash(want.Password)
		if err != nil {
			return false, err
		}
		created, err := a.dex.CreatePassword(ctx, &api.CreatePasswordReq{Password: &api.Password{
			Email: want.Email, Hash: hash, Username: want.Username, UserId: userID(want.Email),
		}})
		if err == nil && created.GetAlreadyExists() {
			err = errRaced
		}
		return true, err
	}
	update := &api.UpdatePasswordReq{Email: want.Email}
	if !hashes.verifies(storedHash(stored), want.Password) {
		if update.NewHash, err = hashes.hash(want.Password); err != nil {
			return false, err
		}
	}
	if username, _, _ := unstructured.NestedString(stored.Object, "username"); update.NewHash != nil || username != want.Username {
		update.NewUsername = want.Username
	}
	if update.NewHash == nil && update.NewUsername == "" {
		return false, nil
	}
	updated, err := a.dex.UpdatePassword(ctx, update)
	if err == nil && updated.GetNotFound() {
		err = errRaced
	}
	return true, err
}

// storedHash is the bcrypt hash in one of Dex's objects, where it is in base64 as
// JSON has bytes; nil where there is none that can be read.
func storedHash(stored *unstructured.Unstructured) []byte {
	text, _, _ := unstructured.NestedString(stored.Object, "hash")
	hash, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil
	}
	return hash
}

// userID is stable, so that a recreated user keeps their subject.
func userID(email string) string {
	sum := sha256.Sum256([]byte(strings.ToLower(email)))
	return hex.EncodeToString(sum[:16])
}

func (a *Admin) passwordObjects() dynamic.ResourceInterface {
	return a.kube.Dynamic.Resource(passwords).Namespace(Namespace)
}

// storedPasswords are Dex's objects by lower-cased e-mail.
func (a *Admin) storedPasswords(ctx context.Context) (map[string]*unstructured.Unstructured, error) {
	return stored(ctx, a.passwordObjects(), "users", func(o map[string]any) string {
		email, _, _ := unstructured.NestedString(o, "email")
		return strings.ToLower(email)
	})
}

// stored are Dex's objects of a kind by a key: their names are a hash that is
// Dex's own business.
func stored(ctx context.Context, objects dynamic.ResourceInterface, what string, key func(map[string]any) string) (map[string]*unstructured.Unstructured, error) {
	list, err := objects.List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("could not read Dex's %s: %w", what, err)
	}
	byKey := map[string]*unstructured.Unstructured{}
	for i := range list.Items {
		byKey[key(list.Items[i].Object)] = &list.Items[i]
	}
	return byKey, nil
}

func (a *Admin) ensureAttributes(ctx context.Context, want profiles.User, stored *unstructured.Unstructured) (changed bool, err error) {
	if stored == nil {
		return false, errRaced
	}
	groups, _, _ := unstructured.NestedStringSlice(stored.Object, "groups")
	if slices.Equal(groups, want.Groups) && emailVerified(stored) == *want.EmailVerified && ours(stored) {
		return false, nil
	}
	patch, err := json.Marshal(kube.Object{
		"groups": want.Groups, "emailVerified": want.EmailVerified, "metadata": kube.Object{"labels": kube.ManagedLabels()},
	})
	if err != nil {
		return false, err
	}
	_, err = a.passwordObjects().Patch(ctx, stored.GetName(), types.MergePatchType, patch, metav1.PatchOptions{FieldManager: kube.FieldManager})
	return true, err
}

func emailVerified(stored *unstructured.Unstructured) bool {
	verified, found, _ := unstructured.NestedBool(stored.Object, "emailVerified")
	return verified || !found // as Dex reads it
}

// ours says whether devenv made one of Dex's objects; Dex keeps labels when it
// writes an object again.
func ours(stored *unstructured.Unstructured) bool {
	return stored.GetLabels()["app.kubernetes.io/managed-by"] == kube.FieldManager
}

// PruneUsers deletes the users that devenv made and that are not among these.
func (a *Admin) PruneUsers(ctx context.Context, keep []profiles.User) (changed bool, err error) {
	stored, err := a.storedPasswords(ctx)
	if err != nil {
		return false, err
	}
	for _, u := range keep {
		delete(stored, strings.ToLower(u.Email))
	}
	for email, object := range stored {
		if !ours(object) {
			continue
		}
		if _, err := a.dex.DeletePassword(ctx, &api.DeletePasswordReq{Email: email}); err != nil {
			return changed, fmt.Errorf("could not delete the user %q, whom the profile does not have: %w", email, err)
		}
		changed = true
	}
	return changed, nil
}
