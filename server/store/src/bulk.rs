//! Bulk exports: how far they are, their files in parts, and what they refer to. (LK-33, RE-28; decision 21)
//!
//! An export is a [job](crate::jobs) of the same id. Whatever a worker has made of it is written with the place where it
//! goes on in one transaction, which is the worker's only as long as it holds the job. So one that takes over goes on
//! there, and neither loses nor doubles a line. What is left of exports whose job is gone is removed in small steps.

use sea_orm::sea_query::{Expr, ExprTrait as _, OnConflict, Order, Query, SelectStatement};

use crate::{Row, Store, StoreError, Tx};

/// Parts of a file that are removed in one transaction.
const CHUNKS_AT_ONCE: i64 = 32;
/// References that one statement adds.
const REFERENCES_PER_STATEMENT: usize = 200;
/// References that are removed in one transaction.
const REFERENCES_AT_ONCE: u64 = 1000;

/// How far an export is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Export {
    /// Instant whose state is exported, microseconds since 1970.
    pub at: i64,
    /// Where to go on.
    pub position: String,
    /// The attempt of the job that wrote here last.
    pub attempt: i64,
    /// What all files take in the database, in bytes.
    pub bytes: i64,
}

/// A file of an export.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct File {
    /// Random: who knows it and may see the export may read it.
    pub name: String,
    /// Its place in the manifest, from 0.
    pub number: i64,
    /// `output`, `deleted` or `error`: in which list of the manifest it stands.
    pub kind: String,
    /// The type of its lines.
    pub resource_type: String,
    /// Its lines.
    pub resources: i64,
    /// Its parts.
    pub chunks: i64,
    /// Its length when it is not compressed, in bytes.
    pub bytes: i64,
    /// CRC-32 of it when it is not compressed.
    pub crc: i64,
}

/// What a worker has made since it wrote last.
#[derive(Clone, Debug, Default)]
pub struct Step {
    /// Id of the export.
    pub export: String,
    /// The attempt of the job.
    pub attempt: i64,
    /// Where to go on from here.
    pub position: String,
    /// Parts of files: each file as it is with the part, and the part, which is its last.
    pub chunks: Vec<(File, Vec<u8>)>,
    /// Type and id of what was referred to.
    pub references: Vec<(String, String)>,
    /// Those of earlier ones that were looked for.
    pub done: Vec<(String, String)>,
}

/// Begins an export, unless it has been.
pub async fn begin(tx: &mut Tx, id: &str, at: i64, attempt: i64) -> Result<(), StoreError> {
    let mut insert = Query::insert();
    insert.into_table("bulk_export").columns(["id", "at", "position", "attempt", "bytes"]);
    insert.values_panic([id.into(), at.into(), "".into(), attempt.into(), 0_i64.into()]);
    insert.on_conflict(OnConflict::column("id").do_nothing().to_owned());
    tx.execute(&insert).await.map(drop)
}

/// How far an export is; none where it has not begun.
pub async fn find(store: &Store, id: &str) -> Result<Option<Export>, StoreError> {
    let mut select = Query::select();
    select.columns(["at", "position", "attempt", "bytes"]).from("bulk_export").and_where(Expr::col("id").eq(id));
    let rows = store.rows(&select).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    Ok(Some(Export { at: row.i64(0)?, position: row.text(1)?, attempt: row.i64(2)?, bytes: row.i64(3)? }))
}

/// Writes what was made.
pub async fn save(tx: &mut Tx, step: &Step) -> Result<(), StoreError> {
    for (file, content) in &step.chunks {
        put_file(tx, &step.export, file).await?;
        let mut insert = Query::insert();
        insert.into_table("bulk_chunk").columns(["file", "number", "content"]);
        insert.values_panic([file.name.as_str().into(), (file.chunks - 1).into(), content.clone().into()]);
        tx.execute(&insert).await?;
    }
    for some in step.references.chunks(REFERENCES_PER_STATEMENT) {
        let mut insert = Query::insert();
        insert.into_table("bulk_reference").columns(["export", "resource_type", "id", "done"]);
        for (resource_type, id) in some {
            let key = [step.export.as_str().into(), resource_type.as_str().into(), id.as_str().into()];
            insert.values_panic(key.into_iter().chain([0_i64.into()]));
        }
        let key = OnConflict::columns(["export", "resource_type", "id"]).do_nothing().to_owned();
        tx.execute(insert.on_conflict(key)).await?;
    }
    for (resource_type, id) in &step.done {
        let mut update = Query::update();
        update.table("bulk_reference").value("done", 1_i64).and_where(Expr::col("export").eq(step.export.as_str()));
        update.and_where(Expr::col("resource_type").eq(resource_type.as_str()));
        update.and_where(Expr::col("id").eq(id.as_str()));
        tx.execute(&update).await?;
    }
    let written: usize = step.chunks.iter().map(|(_, content)| content.len()).sum();
    let mut update = Query::update();
    update.table("bulk_export").value("position", step.position.as_str()).value("attempt", step.attempt);
    update.value("bytes", Expr::col("bytes").add(i64::try_from(written).unwrap_or(i64::MAX)));
    update.and_where(Expr::col("id").eq(step.export.as_str()));
    tx.execute(&update).await.map(drop)
}

async fn put_file(tx: &mut Tx, export: &str, file: &File) -> Result<(), StoreError> {
    let mut insert = Query::insert();
    insert.into_table("bulk_file").columns(FILE.iter().copied().chain(["export"]));
    insert.values_panic([
        file.name.as_str().into(),
        file.number.into(),
        file.kind.as_str().into(),
        file.resource_type.as_str().into(),
        file.resources.into(),
        file.chunks.into(),
        file.bytes.into(),
        file.crc.into(),
        export.into(),
    ]);
    let growing = ["resources", "chunks", "bytes", "crc"];
    insert.on_conflict(OnConflict::column("name").update_columns(growing).to_owned());
    tx.execute(&insert).await.map(drop)
}

/// All files of an export, in the order in which they were begun.
pub async fn files(store: &Store, export: &str) -> Result<Vec<File>, StoreError> {
    let mut select = of_export(export);
    select.order_by("number", Order::Asc);
    store.rows(&select).await?.iter().map(file_of).collect()
}

/// A file of an export.
pub async fn file(store: &Store, export: &str, name: &str) -> Result<Option<File>, StoreError> {
    let mut select = of_export(export);
    select.and_where(Expr::col("name").eq(name));
    store.rows(&select).await?.first().map(file_of).transpose()
}

/// A part of a file.
pub async fn chunk(store: &Store, file: &str, number: i64) -> Result<Option<Vec<u8>>, StoreError> {
    let mut select = Query::select();
    select.column("content").from("bulk_chunk").and_where(Expr::col("file").eq(file));
    select.and_where(Expr::col("number").eq(number));
    store.rows(&select).await?.first().map(|row| row.bytes(0)).transpose()
}

/// Up to `most` of what was referred to and not looked for yet, type and id; all of one type.
pub async fn references(store: &Store, export: &str, most: u64) -> Result<Vec<(String, String)>, StoreError> {
    let mut select = Query::select();
    select.columns(["resource_type", "id"]).from("bulk_reference").and_where(Expr::col("export").eq(export));
    select.and_where(Expr::col("done").eq(0_i64)).limit(most);
    select.order_by("resource_type", Order::Asc).order_by("id", Order::Asc);
    let mut found = Vec::new();
    for row in store.rows(&select).await? {
        found.push((row.text(0)?, row.text(1)?));
    }
    let first = found.first().map(|(resource_type, _): &(String, String)| resource_type.clone());
    found.retain(|(resource_type, _)| Some(resource_type) == first.as_ref());
    Ok(found)
}

/// Whether something is left of an export whose job is gone: asked often, so that nothing is written for it.
pub async fn is_left(store: &Store) -> Result<bool, StoreError> {
    store.rows(&left()).await.map(|rows| !rows.is_empty())
}

/// Removes a small part of what is left of exports whose job is gone.
pub async fn sweep(tx: &mut Tx) -> Result<(), StoreError> {
    let Some(export) = tx.rows(&left()).await?.first().map(|row| row.text(0)).transpose()? else { return Ok(()) };
    let mut select = of_export(&export);
    select.order_by("number", Order::Asc).limit(1);
    if let Some(file) = tx.rows(&select).await?.first().map(file_of).transpose()? {
        return shorten(tx, &file).await;
    }
    let of_it = || Expr::col("export").eq(export.as_str());
    let mut some = Query::select();
    some.columns(["resource_type", "id"]).from("bulk_reference").and_where(of_it()).limit(REFERENCES_AT_ONCE);
    let mut delete = Query::delete();
    let named = Expr::tuple([Expr::col("resource_type"), Expr::col("id")]).in_subquery(some);
    delete.from_table("bulk_reference").and_where(of_it()).and_where(named);
    if tx.execute(&delete).await? == 0 {
        let mut delete = Query::delete();
        delete.from_table("bulk_export").and_where(Expr::col("id").eq(export.as_str()));
        tx.execute(&delete).await?;
    }
    Ok(())
}

/// Removes the last parts of a file, and with the first of them the file.
async fn shorten(tx: &mut Tx, file: &File) -> Result<(), StoreError> {
    let left = Ord::max(file.chunks - CHUNKS_AT_ONCE, 0);
    let mut delete = Query::delete();
    delete.from_table("bulk_chunk").and_where(Expr::col("file").eq(file.name.as_str()));
    delete.and_where(Expr::col("number").gte(left));
    tx.execute(&delete).await?;
    let named = Expr::col("name").eq(file.name.as_str());
    if left == 0 {
        return tx.execute(Query::delete().from_table("bulk_file").and_where(named)).await.map(drop);
    }
    tx.execute(Query::update().table("bulk_file").value("chunks", left).and_where(named)).await.map(drop)
}

const FILE: &[&str] = &["name", "number", "kind", "resource_type", "resources", "chunks", "bytes", "crc"];

fn of_export(export: &str) -> SelectStatement {
    let mut select = Query::select();
    select.columns(FILE.to_vec()).from("bulk_file").and_where(Expr::col("export").eq(export));
    select
}

fn file_of(row: &Row) -> Result<File, StoreError> {
    Ok(File {
        name: row.text(0)?,
        number: row.i64(1)?,
        kind: row.text(2)?,
        resource_type: row.text(3)?,
        resources: row.i64(4)?,
        chunks: row.i64(5)?,
        bytes: row.i64(6)?,
        crc: row.i64(7)?,
    })
}

/// An export whose job is gone.
fn left() -> SelectStatement {
    let mut job = Query::select();
    job.expr(Expr::val(1)).from("job").and_where(Expr::col(("job", "id")).equals(("bulk_export", "id")));
    let mut select = Query::select();
    select.column("id").from("bulk_export").and_where(Expr::exists(job).not()).limit(1);
    select
}
