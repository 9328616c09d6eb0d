package main

// The packages whose tests are run.
const (
	keysPkg    = "./indexer/keys"
	foldPkg    = "./indexer/fold"
	storePkg   = "./indexer/store"
	listingPkg = "./indexer/listing"
	streamPkg  = "./indexer/stream"
	indexerPkg = "./indexer"
	rebuildPkg = "./indexer/rebuild"
	queryPkg   = "./query"
	httpPkg    = "./query/httpapi"
	eventsPkg  = "./events"
	snapPkg    = "./indexer/snapshot"
	cmdPkg     = "./cmd/assigndex"
)

// mutants are the breakages, by the rule that they break.
var mutants = []mutant{
	// Keys.
	{
		"keys: zeros are not escaped", "indexer/keys/component.go",
		"if text[i] == escape {",
		"if false && text[i] == escape {",
		keysPkg, ".",
	},
	{
		"keys: the terminator sorts last", "indexer/keys/component.go",
		"terminated = 0x01",
		"terminated = 0xFE",
		keysPkg, ".",
	},
	{
		"keys: rows by application come by entitlement", "indexer/keys/keys.go",
		"if family == ByAssignee || family == ByApp {\n\t\tkey = Append(key, r.EntID)",
		"if family == ByAssignee {\n\t\tkey = Append(key, r.EntID)",
		keysPkg, ".",
	},
	{
		"keys: the end of a prefix is its last byte", "indexer/keys/keys.go",
		"if prefix[i] != 0xFF {",
		"if true {",
		keysPkg, ".",
	},
	{
		"keys: numbers of changes are little endian", "indexer/keys/change.go",
		"binary.BigEndian.AppendUint32(binary",
		"binary.LittleEndian.AppendUint32(binary",
		keysPkg, ".",
	},
	{
		"keys: long attributes are not cut", "indexer/keys/attribute.go",
		"if len(value) > maxAttributeBytes {\n\t\tvalue =",
		"if false {\n\t\tvalue =",
		keysPkg, ".",
	},

	// The fold.
	{
		"fold: an equal revision applies", "indexer/fold/fold.go",
		"if *ev.Revision <= int64(",
		"if *ev.Revision < int64(",
		foldPkg, ".",
	},
	{
		"fold: a guard goes with the revocation", "indexer/fold/fold.go",
		"if ev.Revision != nil {\n\t\tif err := f.put(",
		"if ev.Revision != nil && !ev.Type.Removes() {\n\t\tif err := f.put(",
		storePkg, "^TestModel$",
	},
	{
		"fold: if absent is if present", "indexer/fold/fold.go",
		"(ev.If == events.IfAbsent && old != nil)",
		"(ev.If == events.IfAbsent && old == nil)",
		foldPkg, ".",
	},
	{
		"fold: an update begins the assignment anew", "indexer/fold/assignment.go",
		"row.Created = old.Created",
		"_ = old.Created",
		storePkg, "^TestModel$",
	},
	{
		"fold: an entitlement that moves leaves its rows", "indexer/fold/entity.go",
		"row.AppID = now.AppID",
		"_ = now.AppID",
		storePkg, "^TestModel$",
	},
	{
		"fold: it takes rows along that have their own application", "indexer/fold/entity.go",
		"if !row.OwnApp {\n\t\t\trow.AppID",
		"if true {\n\t\t\trow.AppID",
		storePkg, "^TestModel$",
	},
	{
		"fold: secrets declared later stay", "indexer/fold/entity.go",
		"if detail.Mask(declared) {",
		"if false && detail.Mask(declared) {",
		storePkg, "^TestModel$",
	},
	{
		"fold: parameters of an unknown entitlement are kept", "indexer/fold/assignment.go",
		"return ent != nil && !ent.IsSecret(param)",
		"return ent == nil || !ent.IsSecret(param)",
		foldPkg, ".",
	},
	{
		"fold: a deleted group keeps its dynamic rows", "indexer/fold/entity.go",
		"return f.revokeAssignee(events.Assignee{Kind: events.KindDynamicGroup, ID: s.id})",
		"return nil",
		storePkg, "^TestModel$",
	},
	{
		"fold: a row stays listed under its old application", "indexer/fold/assignment.go",
		"if err := f.del(id.Make(keys.ByApp)); err != nil {\n\t\treturn err\n\t}",
		"",
		storePkg, "^TestModel$",
	},
	{
		"fold: an entitlement keeps the attributes it had", "indexer/fold/entity.go",
		"if was.Value != \"\" {",
		"if false {",
		storePkg, "^TestModel$",
	},
	{
		"fold: a deletion leaves attributes", "indexer/fold/entity.go",
		"return f.reattribute(s.id, old.Record, nil)",
		"return f.reattribute(s.id, old.Record[:0], nil)",
		storePkg, "^TestModel$",
	},

	// The decoder.
	{
		"events: scores above 1 pass", "events/decode.go",
		"> 1",
		"> 100",
		eventsPkg, ".",
	},

	// Watermark and batches.
	{
		"watermark: it moves before the batch is written", "indexer/store/batch.go",
		"if err := b.store.fault.Step(fault.Flush, b.wb.Flush); err != nil {\n\t\treturn err\n\t}\n",
		"defer func() { _ = b.store.fault.Step(fault.Flush, b.wb.Flush) }()\n",
		storePkg, ".",
	},
	{
		"watermark: a batch forgets what the one before wrote", "indexer/store/batch.go",
		"[]map[string]pending{b.pending, b.before}",
		"[]map[string]pending{b.pending}",
		storePkg, "^Test(Model|Metamorphic)$",
	},
	{
		"watermark: what a crash left is not undone", "indexer/store/store.go",
		"if item.Version() <= seq || storesOwn(item) {",
		"if true {",
		storePkg, "^Test(Undo|Metamorphic|WritesOver)",
	},
	{
		"watermark: undone versions hide new writes", "indexer/store/batch.go",
		"if b.ts >= b.store.undone {",
		"if true {",
		storePkg, "^Test(WritesOver|UndoOf)",
	},
	{
		"counters: a change of level is not counted", "indexer/store/counters.go",
		"before.AppID == after.AppID && t.thresholds.Of(before.Face) == t.thresholds.Of(after.Face)",
		"before.AppID == after.AppID",
		storePkg, "^TestModel$",
	},

	// The floor.
	{
		"floor: reads below it are let in", "indexer/store/view.go",
		"if seq < floor {",
		"if seq+1 < floor {",
		storePkg, "^Test(Model|Views)$",
	},
	{
		"floor: a read that it overtakes is believed", "indexer/store/view.go",
		"if v.seq < floor {\n\t\treturn fmt.Errorf(\"sequence %d, the lowest that can be read is %d: %w\", v.seq,",
		"if false {\n\t\treturn fmt.Errorf(\"sequence %d, the lowest that can be read is %d: %w\", v.seq,",
		storePkg, "^Test(Model|Views)$",
	},
	{
		"floor: it lets one sequence too many be dropped", "indexer/store/meta.go",
		"s.db.SetDiscardTs(seq)",
		"s.db.SetDiscardTs(seq + 1)",
		storePkg, "^TestCompactionKeepsTheWindow$",
	},
	{
		"floor: it is forgotten at close", "indexer/store/meta.go",
		"s.floor = binary.BigEndian.Uint64(value)",
		"_ = binary.BigEndian.Uint64(value)",
		storePkg, "^TestModel$",
	},
	{
		"floor: the log is pruned one too far", "indexer/store/changes.go",
		"if change.Seq > floor {",
		"if change.Seq > floor+1 {",
		storePkg, "^Test(PruneChanges|Model)$",
	},

	// Listings and cursors.
	{
		"listing: a page begins with the row it is after", "indexer/listing/selector.go",
		"return append(row.Make(r.family), 0)",
		"return row.Make(r.family)",
		listingPkg, ".",
	},
	{
		"listing: a page has one row too many", "indexer/listing/list.go",
		"case value != nil && l.page.Rows == l.limit:",
		"case value != nil && l.page.Rows > l.limit:",
		listingPkg, ".",
	},
	{
		"listing: deleted rows cost nothing", "indexer/listing/list.go",
		"l.page.Passed += passed\n\tif value",
		"l.page.Passed += 0\n\tif value",
		listingPkg, ".",
	},
	{
		"listing: a filter looks at one attribute only", "indexer/listing/filter.go",
		"if c[0] != \"\" && c[0] != c[1] {",
		"if c[0] != \"\" && c[1] == \"\" {",
		listingPkg, ".",
	},
	{
		"listing: details are of now", "indexer/store/view.go",
		"v.then = v.store.db.NewTransactionAt(v.seq, false)",
		"v.then = v.store.db.NewTransactionAt(v.store.Applied().Seq, false)",
		storePkg, "^TestModel$",
	},
	{
		"cursor: another query's is taken", "query/lister.go",
		"case c.query != query:",
		"case false:",
		queryPkg, ".",
	},
	{
		"cursor: another stream's is taken", "query/lister.go",
		"case c.stream != stream:",
		"case false:",
		queryPkg, ".",
	},
	{
		"cursor: damage is not seen", "query/cursor.go",
		"if string(check(b[:covered])) != string(b[covered:]) {",
		"if false {",
		queryPkg, ".",
	},
	{
		"cursor: it is not bound to its tenant", "query/cursor.go",
		"{sel.Tenant, sel.AssigneeID, sel.EntID, sel.AppID}",
		"{\"\", sel.AssigneeID, sel.EntID, sel.AppID}",
		queryPkg, ".",
	},
	{
		"cursor: the next page reads now", "query/lister.go",
		"return beginning{at: &AsOf{Seq: c.seq}, after: &c.at}, nil",
		"return beginning{after: &c.at}, nil",
		queryPkg, ".",
	},

	// The feed.
	{
		"feed: a cascade is left in its middle", "indexer/feed/feed.go",
		"entries[i+1].place.Seq != e.place.Seq",
		"true",
		storePkg, "^TestModel$",
	},
	{
		"feed: what leaves the filter is not told", "indexer/feed/feed.go",
		"(c.Before == nil && c.After == nil) {\n\t\t\treturn false, err\n\t\t}\n\t\treturn true, visit(c)",
		"c.After == nil {\n\t\t\treturn false, err\n\t\t}\n\t\treturn true, visit(c)",
		storePkg, "^TestModel$",
	},
	{
		"feed: a difference is told at every change", "indexer/feed/diff.go",
		"last != c.Seq",
		"last == 0",
		storePkg, "^TestModel$",
	},

	// A stream on several servers.
	{
		"leader: whoever answers is believed", "indexer/stream/leader.go",
		"if !replicated(info) {\n\t\treturn nil",
		"if true {\n\t\treturn nil",
		streamPkg, "CutOffIsNotBelieved",
	},
	{
		"leader: a server that is cut off is kept", "indexer/stream/leader.go",
		"if !over {",
		"if true {",
		streamPkg, "CutOffIsLeft",
	},
	{
		"leader: what a server does not hold at the end is taken for erased", "indexer/stream/reader.go",
		"case !erased:",
		"case !erased && false:",
		streamPkg, "ServerThatLags",
	},

	// The stream's identity.
	{
		"identity: a recreated stream is taken for the one of before", "indexer/stream/identity.go",
		"case !info.Created.Equal(at.Stream.Created):",
		"case false:",
		streamPkg, ".",
	},
	{
		"identity: a stream that ends too early is read on", "indexer/stream/identity.go",
		"case info.State.LastSeq < at.Seq:",
		"case false:",
		streamPkg, ".",
	},
	{
		"identity: what was trimmed is passed over", "indexer/stream/identity.go",
		"case info.State.FirstSeq > at.Seq+1:",
		"case false:",
		streamPkg, ".",
	},
	{
		"identity: a sequence that was given to another message is not seen", "indexer/stream/identity.go",
		"if m.is(rung) {",
		"if m.is(rung) || true {",
		streamPkg, ".",
	},
	{
		"identity: the incarnation stays when the index is undone", "indexer/stream/rejoin.go",
		"identityOf(info, at.Stream.Partings+1)",
		"identityOf(info, at.Stream.Partings)",
		indexerPkg, "^Test(Lost|Reused|Part)",
	},

	// Snapshots.
	{
		"snapshot: the floor passes what is pinned", "indexer/store/pin.go",
		"seq = min(seq, *pin)",
		"_ = *pin",
		storePkg, "^TestPin",
	},
	{
		"snapshot: what is applied meanwhile comes along", "indexer/store/export.go",
		"if settled || item.Version() > r.At.Seq {",
		"if settled {",
		storePkg, "^TestSnapshotModel$",
	},
	{
		"snapshot: what the floor sees is left out", "indexer/store/export.go",
		"if gone && (settled || item.Version() == constant) {",
		"if settled {",
		storePkg, "^TestSnapshotModel$",
	},
	{
		"snapshot: the rung of the floor is left out", "indexer/store/export.go",
		"return ok && seq >= r.base && seq <= r.At.Seq, nil",
		"return ok && seq > r.base && seq <= r.At.Seq, nil",
		storePkg, "^TestSnapshotModel$",
	},
	{
		"snapshot: later rungs come along", "indexer/store/export.go",
		"return ok && seq >= r.base && seq <= r.At.Seq, nil",
		"return ok && seq >= r.base, nil",
		storePkg, "^TestSnapshotModel$",
	},
	{
		"snapshot: an undo meanwhile is not seen", "indexer/store/export.go",
		"view = &View{store: s, seq: e.At.Seq, epoch: s.epoch,",
		"view = &View{store: s, seq: e.At.Seq, epoch: s.epoch * 0,",
		storePkg, "^TestSnapshotOf",
	},
	{
		"snapshot: the checksum of the whole is not looked at", "indexer/snapshot/read.go",
		"if string(sum) != string(want) {",
		"if false && string(sum) != string(want) {",
		snapPkg, "^TestDamage$",
	},
	{
		"snapshot: bytes behind the end are passed over", "indexer/snapshot/read.go",
		"if n > 0 {",
		"if false && n > 0 {",
		snapPkg, "^TestDamage$",
	},
	{
		"restore: the marker comes before the files are durable", "indexer/store/import.go",
		"{fault.RestoreSync, func() error { return syncAll(im.dir) }},",
		"{fault.RestoreSync, func() error { return writeMarker(filepath.Join(im.dir, markerFile)) }},",
		cmdPkg, "^TestKillSnapshots$",
	},
	{
		"restore: a server opens what is unfinished", "cmd/assigndex/node.go",
		"if err := refuseRestoring(cfg.DataDir); err != nil {",
		"if err := refuseRestoring(cfg.DataDir); false {",
		cmdPkg, "^TestKillSnapshots$",
	},
	{
		"restore: the new stream begins at 1", "cmd/assigndex/restore.go",
		"FirstSeq: at.Seq + 1}",
		"FirstSeq: 1}",
		cmdPkg, "^TestSnapshotAndRestore$",
	},

	// Rebuilds.
	{
		"rebuild: the swap does not wait for the fresh index", "indexer/host.go",
		"if err := s.Wait(ctx, at.Seq); err != nil {\n\t\t\treturn false, err",
		"if err := s.Wait(ctx, 0); err != nil {\n\t\t\treturn false, err",
		cmdPkg, "^TestRebuildUnderLoad$",
	},
	{
		"rebuild: the index before is closed under its readers", "indexer/served.go",
		"for s.readers.Load() > 0 {",
		"for false {",
		rebuildPkg, "^TestReadersAcrossTheSwap$",
	},
	{
		"rebuild: who waits in the index before waits on", "indexer/served.go",
		"before.store.Retire()",
		"_ = before.store.Retire",
		rebuildPkg, "^TestReadersAcrossTheSwap$",
	},
	{
		"rebuild: another incarnation is swapped in", "indexer/host.go",
		"if now.Stream.Incarnation != at.Stream.Incarnation {",
		"if false {",
		rebuildPkg, "^TestAnotherStreamIsNotSwapped$",
	},
	{
		"rebuild: a difference is swapped in though it must not be", "indexer/rebuild/rebuild.go",
		"if j.req.RequireEqual && j.report.Differs() {\n\t\treturn next.Stop()",
		"if false {\n\t\treturn next.Stop()",
		rebuildPkg, "^TestADifferenceIsReported$",
	},
	{
		"rebuild: the fresh index has history from its end on only", "indexer/rebuild/fresh.go",
		"Dir: dir, UpTo: upTo, Floor: floor,",
		"Dir: dir, UpTo: upTo, Floor: max(floor, 1<<40),",
		rebuildPkg, "^TestRebuild$",
	},
	{
		"generation: the pointer is not followed", "indexer/generation/generation.go",
		"return filepath.Join(data, name), err\n}\n\nfunc current(",
		"return filepath.Join(data, name[:0]+first), err\n}\n\nfunc current(",
		rebuildPkg, "^TestRebuild$",
	},

	// Tenants and keys.
	{
		"tenants: a path opens any of them", "query/httpapi/auth.go",
		"segment != c.Tenant",
		"false",
		httpPkg, "^TestTenants$",
	},
	{
		"tenants: a header opens any of them", "query/httpapi/auth.go",
		"case c.Tenant != apikey.AllTenants && given && named != c.Tenant:",
		"case false:",
		httpPkg, "^Test(Tenants|Credentials)$",
	},
}
