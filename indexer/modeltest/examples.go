package modeltest

// Example is a stream and what the contract says of it, worked out by hand.
type Example struct {
	Name   string
	Events []string // type, blank and data of each message, of one tenant
	// Want is every row in order: assignee id, entitlement, application ("-":
	// none), stored parameters, and the sequences of creation and last change.
	Want []string
}

// Examples hold the model, and the fold, to the contract in plain sight.
var Examples = []Example{
	{"created_at stays", []string{
		`assignment.upserted {"usr_id":"u","ent_id":"e"}`,
		`assignment.upserted {"usr_id":"u","ent_id":"e","score":1}`,
	}, []string{"u e - map[] 1/2"}},
	{"created_at ends with a revocation", []string{
		`assignment.upserted {"usr_id":"u","ent_id":"e"}`,
		`assignment.revoked {"usr_id":"u","ent_id":"e"}`,
		`assignment.upserted {"usr_id":"u","ent_id":"e"}`,
	}, []string{"u e - map[] 3/3"}},
	{"rows follow an entitlement, but not those with an application of their own", []string{
		`assignment.upserted {"usr_id":"u","ent_id":"e"}`,
		`assignment.upserted {"usr_id":"v","ent_id":"e","app_id":"own"}`,
		`entitlement.upserted {"ent_id":"e","app_id":"p"}`,
		`entitlement.upserted {"ent_id":"e","app_id":"q"}`,
	}, []string{"u e q map[] 1/4", "v e own map[] 2/2"}},
	{"an entitlement that says no application takes it away", []string{
		`entitlement.upserted {"ent_id":"e","app_id":"p"}`,
		`assignment.upserted {"usr_id":"u","ent_id":"e"}`,
		`entitlement.upserted {"ent_id":"e"}`,
	}, []string{"u e - map[] 2/3"}},
	{"a deleted entitlement leaves nothing and tells nothing", []string{
		`entitlement.upserted {"ent_id":"e","app_id":"p"}`,
		`assignment.upserted {"usr_id":"u","ent_id":"e","app_id":"own"}`,
		`entitlement.deleted {"ent_id":"e"}`,
		`assignment.upserted {"usr_id":"v","ent_id":"e","params":{"a":1}}`,
	}, []string{`v e - map[a:"***"] 4/4`}},
	{"a deleted application revokes what is listed there and leaves entitlements as they are", []string{
		`entitlement.upserted {"ent_id":"e","app_id":"p"}`,
		`assignment.upserted {"usr_id":"u","ent_id":"e"}`,
		`assignment.upserted {"usr_id":"v","ent_id":"e","app_id":"own"}`,
		`assignment.upserted {"usr_id":"w","ent_id":"f","app_id":"p"}`,
		`application.deleted {"app_id":"p"}`,
		`assignment.upserted {"usr_id":"x","ent_id":"e"}`,
	}, []string{"v e own map[] 3/3", "x e p map[] 6/6"}},
	{"a deleted group loses both kinds, and no user of that id", []string{
		`assignment.upserted {"type":"GROUP","grp_id":"g","ent_id":"e"}`,
		`assignment.upserted {"type":"DYNAMIC_GROUP","grp_id":"g","ent_id":"e"}`,
		`assignment.upserted {"usr_id":"g","ent_id":"e"}`,
		`assignment.upserted {"type":"ALL","ent_id":"e"}`,
		`group.deleted {"grp_id":"g"}`,
	}, []string{"g e - map[] 3/3", " e - map[] 4/4"}},
	{"a deleted user", []string{
		`assignment.upserted {"type":"GROUP","grp_id":"u","ent_id":"e"}`,
		`assignment.upserted {"usr_id":"u","ent_id":"e"}`,
		`assignment.upserted {"usr_id":"u","ent_id":"f"}`,
		`user.deleted {"usr_id":"u"}`,
	}, []string{"u e - map[] 1/1"}},
	{"a revision that is not above the last does nothing, also after a revocation", []string{
		`assignment.upserted {"usr_id":"u","ent_id":"e","revision":5}`,
		`assignment.upserted {"usr_id":"u","ent_id":"e","revision":5,"score":1}`,
		`assignment.revoked {"usr_id":"u","ent_id":"e","revision":6}`,
		`assignment.upserted {"usr_id":"u","ent_id":"e","revision":6}`,
	}, nil},
	{"an event without revision applies and leaves the guard", []string{
		`assignment.upserted {"usr_id":"u","ent_id":"e","revision":5}`,
		`assignment.upserted {"usr_id":"u","ent_id":"e","app_id":"p"}`,
		`assignment.revoked {"usr_id":"u","ent_id":"e","revision":4}`,
	}, []string{"u e p map[] 1/2"}},
	{"a revocation that finds nothing still guards", []string{
		`assignment.revoked {"usr_id":"u","ent_id":"e","revision":9}`,
		`assignment.upserted {"usr_id":"u","ent_id":"e","revision":8}`,
	}, nil},
	{"a cascade leaves the guards of what it revokes", []string{
		`assignment.upserted {"usr_id":"u","ent_id":"e","revision":5}`,
		`user.deleted {"usr_id":"u"}`,
		`assignment.upserted {"usr_id":"u","ent_id":"e","revision":5}`,
		`assignment.upserted {"usr_id":"u","ent_id":"e","revision":6}`,
	}, []string{"u e - map[] 4/4"}},
	{"conditions", []string{
		`assignment.upserted {"usr_id":"u","ent_id":"e","if":"present"}`,
		`assignment.upserted {"usr_id":"v","ent_id":"e","if":"absent"}`,
		`assignment.upserted {"usr_id":"v","ent_id":"e","if":"absent","app_id":"p"}`,
		`assignment.revoked {"usr_id":"v","ent_id":"e","if":"absent"}`,
	}, []string{"v e - map[] 2/2"}},
	{"an event whose condition fails does nothing, so it does not guard", []string{
		`assignment.upserted {"usr_id":"u","ent_id":"e","if":"present","revision":9}`,
		`assignment.upserted {"usr_id":"u","ent_id":"e","revision":1}`,
	}, []string{"u e - map[] 2/2"}},
	{"secrets", []string{
		`assignment.upserted {"usr_id":"u","ent_id":"e","params":{"a":1}}`, // the entitlement is not known
		`entitlement.upserted {"ent_id":"e","secret_params":["b"]}`,
		`assignment.upserted {"usr_id":"v","ent_id":"e","params":{"a":1,"b":2}}`,
		`entitlement.upserted {"ent_id":"e","secret_params":["a"]}`, // b is open again, but was not kept
		`assignment.upserted {"usr_id":"w","ent_id":"e","params":{"a":1,"b":2}}`,
	}, []string{`u e - map[a:"***"] 1/1`, `v e - map[a:"***" b:"***"] 3/4`, `w e - map[a:"***" b:2] 5/5`}},
}
