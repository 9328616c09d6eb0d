// Package autoid reads the four CSV files that Autonomous Identity takes,
// applications.csv, entitlements.csv, identities.csv and assignments.csv, as
// records of upsert events.
//
// # What it owns
//
// Which columns each file must have, by which names a header may call them, and
// how a cell becomes a member of the record:
//
//   - Header names are compared without regard to case and to spaces around them.
//     "user" stands for "usr" as it does in the documentation of that system
//     (user_name for usr_name, user_id for usr_id). The operator adds names, and
//     leaves columns out, with Columns.
//   - A column that is named like a field of the event (score, justification,
//     email, ent_type, app_id, revision, …) is that field. Numbers are written as
//     in JSON (.98 is taken for 0.98); justification, rights, params and
//     secret_params are JSON in a cell.
//   - Every other column is an attribute, under its name as it is written. Without
//     a declared type it stays text: "007" is not a number, nor "true" a Boolean.
//   - An empty cell is an absent member. So an empty score is "not scored". Other
//     cells are kept as they are, spaces included, except that CRLF within quotes
//     is read as LF.
//   - A row without any text, such as ",,,", is passed over like an empty line.
//
// The form is that of RFC 4180 in UTF-8, with or without a byte order mark, with
// LF or CRLF, and with a separator of the caller's choice.
//
// # What it refuses
//
// It guesses nothing that would change what a row says: other encodings and
// separators, rows with more or fewer cells than the header, stray quotes and two
// columns for one field are errors. A fault of a header makes the file unusable
// and comes from NewReader; a fault of a row costs that row and comes from
// Reader.Read. Each is an *Error with file, line, column, field and remedy. Every
// record that is read is accepted by events.DecodeData.
//
// It opens no file, knows no tenant and publishes nothing. It holds one record at
// a time, of at most MaxRecordBytes, however long the file is.
//
// # Concurrency
//
// The package starts no goroutine. A Reader belongs to one goroutine. Columns may
// be shared once nothing is added to them any more.
package autoid
