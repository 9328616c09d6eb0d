package events

import "strings"

// SubjectRoot is the first token of every subject of ours.
const SubjectRoot = "assignments"

// AllSubjects is the subject filter of the stream.
const AllSubjects = SubjectRoot + ".>"

// Subject gives the subject on which tenant's events are published when the
// publisher has no reason for another: SubjectRoot, the tenant, "events". Ids
// are never part of a subject, since "aaron.fischer" would be two tokens.
func Subject(tenant string) string { return SubjectRoot + "." + tenant + ".events" }

// ValidTenant reports whether name is 1 to MaxTenantBytes of letters, digits, "_" and "-".
func ValidTenant(name string) bool {
	if len(name) == 0 || len(name) > MaxTenantBytes {
		return false
	}
	for i := range len(name) {
		c := name[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_' && c != '-' {
			return false
		}
	}
	return true
}

// tenantOf reads the tenant from a subject "assignments.<tenant>.<anything>".
func tenantOf(subject string) (string, *Rejection) {
	rest, ok := strings.CutPrefix(subject, SubjectRoot+".")
	tenant, tail, more := strings.Cut(rest, ".")
	if !ok || !more || tail == "" {
		return "", reject(BadSubject, "subject", "publish on assignments.<tenant>.<anything>", "%q has no tenant and tail", subject)
	}
	if !ValidTenant(tenant) {
		return "", reject(BadSubject, "subject", "use 1 to 64 letters, digits, '_' and '-'", "tenant %q is not a valid name", tenant)
	}
	return tenant, nil
}
