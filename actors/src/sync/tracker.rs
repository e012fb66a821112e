//! The schema tracker: how the source's tables are defined at the stream's position.
//!
//! Every statement that the source has executed is followed here, whatever becomes of it in the target. What a
//! statement changes is stored in the transaction in which the watermark passes it; what is derived from elsewhere
//! ([`super::derive`]) holds from the last statement on the table up to here, so it may be stored at any later time.
//!
//! The names of all tables that are followed are in memory, but only so many definitions: one that falls out is stored, and is
//! read again when it is needed. Nothing falls out while something is not stored.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use dmnode_model::config::Endpoint;
use dmnode_model::error::CodedError;
use dmnode_model::{Flavor, TableName};
use dmnode_mysql::{Connection, QueryEvent, SessionOptions, SqlError, TextRow};
use dmnode_schema::definition::{Context, Definition, Fate, interpret};
use dmnode_schema::{SqlMode, Statement, StatementKind};

use super::bounded::{Bounded, COLUMNS_MOST};
use super::ddl::lower_case;
use super::scope::Scope;
use crate::definitions::{DefinitionTable, Followed, Origin};
use crate::progress::text_literal;
use crate::target::{ApplyBody, ApplyError, TargetTransaction};

/// How long a derived definition may wait to be stored.
const UNSAVED_AGE: Duration = Duration::from_millis(500);
/// `REAL_AS_FLOAT` in `sql_mode`.
const REAL_AS_FLOAT: u64 = 1;

/// Character set and collation of a database.
type Charset = (Option<String>, Option<String>);

/// The definitions of one source's tables.
pub struct Tracker {
    table: DefinitionTable,
    /// All tables that are followed.
    names: HashSet<TableName>,
    /// Their definitions, as far as they are in memory.
    followed: Bounded<Followed>,
    /// Derived, and not stored yet.
    unsaved: HashSet<TableName>,
    unsaved_since: Option<Instant>,
    /// Statements of transactions under way.
    kept: Vec<String>,
    /// Databases of the source.
    charsets: HashMap<String, Charset>,
}

impl Tracker {
    /// With what is stored.
    pub async fn load(table: DefinitionTable, conn: &mut Connection) -> Result<Self, CodedError> {
        let mut names = HashSet::new();
        let mut followed = Bounded::new(crate::failpoint::cached_columns(COLUMNS_MOST));
        table
            .load(conn, |name, found| {
                names.insert(name.clone());
                if let Some(found) = found {
                    let columns = found.definition.columns.len();
                    followed.insert(name, found, columns);
                }
                !followed.is_full()
            })
            .await?;
        Ok(Self {
            table,
            names,
            followed,
            unsaved: HashSet::new(),
            unsaved_since: None,
            kept: Vec::new(),
            charsets: HashMap::new(),
        })
    }

    /// The definition of a table, if it is followed. [`Self::is_forgotten`] must have been asked before.
    pub fn get(&mut self, name: &TableName) -> Option<&Followed> {
        self.followed.get(name)
    }

    /// The table is followed and its definition is not in memory: it must be read ([`Self::table`]) and given back
    /// ([`Self::recall`]) before anything is done with it.
    pub fn is_forgotten(&self, name: &TableName) -> bool {
        self.names.contains(name) && self.followed.peek(name).is_none()
    }

    /// Whether any definition is not in memory.
    pub fn forgets(&self) -> bool {
        self.followed.len() < self.names.len()
    }

    /// Where definitions are stored.
    pub fn table(&self) -> DefinitionTable {
        self.table.clone()
    }

    /// What was read of a forgotten table.
    pub fn recall(&mut self, name: &TableName, row: Option<&TextRow>) -> Result<(), CodedError> {
        match row {
            Some(row) => {
                let (_, found) = self.table.read(row)?;
                let columns = found.definition.columns.len();
                self.followed.insert(name.clone(), found, columns);
            }
            // Somebody has deleted the row: it will be derived.
            None => drop(self.names.remove(name)),
        }
        Ok(())
    }

    /// Forgets what has not been used for longest, if it is too much and all of it is stored.
    pub fn shrink(&mut self) {
        if self.unsaved.is_empty() && self.kept.is_empty() {
            self.followed.shrink();
        }
    }

    fn set(&mut self, name: TableName, followed: Followed) {
        let columns = followed.definition.columns.len();
        self.names.insert(name.clone());
        self.followed.insert(name, followed, columns);
    }

    fn remove(&mut self, name: &TableName) -> bool {
        self.followed.remove(name);
        self.names.remove(name)
    }

    /// A definition was found out.
    pub fn derived(&mut self, name: &TableName, definition: Definition, origin: Origin, place: &str) {
        let followed = Followed { definition, origin, location: place.to_owned() };
        self.set(name.clone(), followed);
        self.unsaved.insert(name.clone());
        self.unsaved_since.get_or_insert_with(Instant::now);
    }

    /// See [`super::tables::Tables::unsaved`].
    pub fn unsaved(&mut self, due: bool) -> Vec<String> {
        let Some(since) = self.unsaved_since else { return Vec::new() };
        if due && since.elapsed() < UNSAVED_AGE {
            return Vec::new();
        }
        self.unsaved_since = None;
        let names = std::mem::take(&mut self.unsaved);
        let mut statements = std::mem::take(&mut self.kept);
        statements.extend(
            names.iter().filter_map(|name| Some(self.table.put_sql(name, self.followed.peek(name)?))),
        );
        statements
    }

    /// See [`super::tables::Tables::keep`].
    pub fn keep(&mut self, tracked: Tracked) {
        if !tracked.statements.is_empty() {
            self.kept.extend(tracked.statements);
            self.unsaved_since.get_or_insert_with(Instant::now);
        }
    }

    /// Tables whose definitions [`Self::follow`] will look at and that are not in memory.
    pub fn forgotten_by(&self, scope: &Scope, query: &QueryEvent, flavor: Flavor) -> Vec<TableName> {
        if !self.forgets() {
            return Vec::new();
        }
        let Some(text) = query.sql_text() else { return Vec::new() };
        let mode = query.sql_mode.map(|bits| SqlMode::from_bits(bits, flavor)).unwrap_or_default();
        let mut statement = Statement::classify(&text, &query.schema, mode);
        if scope.lower_case {
            lower_case(&mut statement);
        }
        let names = statement.tables.into_iter().map(|reference| reference.name);
        names.filter(|name| self.is_forgotten(name)).collect()
    }

    /// A statement of the source; see [`super::tables::Tables::track`].
    pub async fn follow(
        &mut self,
        scope: &Scope,
        source: Option<&Endpoint>,
        query: &QueryEvent,
        flavor: Flavor,
        place: &str,
        copied: &(dyn Fn(&TableName) -> bool + Sync),
    ) -> Result<Tracked, CodedError> {
        let mode = query.sql_mode.map(|bits| SqlMode::from_bits(bits, flavor)).unwrap_or_default();
        let Some(text) = query.sql_text() else {
            // Which tables it changes cannot be read: nothing is certain any more.
            tracing::warn!(location = %place, "a statement cannot be read: all definitions will be derived again");
            self.followed.clear();
            self.names.clear();
            self.unsaved.clear();
            return Ok(Tracked { statements: vec![self.table.delete_all_sql()], concerned: true });
        };
        let mut statement = Statement::classify(&text, &query.schema, mode);
        if scope.lower_case {
            lower_case(&mut statement);
        }
        if statement.kind == StatementKind::Unknown {
            return self.not_understood(scope, &statement, place);
        }
        if !statement.is_ddl() {
            return Ok(Tracked::default());
        }
        let mut tracked = Tracked::default();
        for schema in &statement.schemas {
            // Tables that are created later have its new default.
            self.charsets.remove(&schema.name);
            tracked.concerned |= scope.has_schema(&schema.name)?;
        }
        for name in statement.changed_tables() {
            tracked.concerned |= scope.follows(name)?;
        }
        if !tracked.concerned {
            return Ok(tracked);
        }
        let mut fates = BTreeMap::new();
        if statement.kind == StatementKind::DropDatabase {
            let dropped =
                |name: &&TableName| statement.schemas.iter().any(|schema| schema.name == name.schema);
            fates.extend(self.names.iter().filter(dropped).map(|name| (name.clone(), Fate::Gone)));
        } else if let Some(first) = statement.changed_tables().next().cloned() {
            let creates = matches!(statement.kind, StatementKind::CreateTable { .. });
            let (charset, collation) =
                if creates { self.charset(source, &first.schema).await } else { Charset::default() };
            let context = Context {
                mode,
                mariadb: flavor == Flavor::Mariadb,
                real_as_float: query.sql_mode.is_some_and(|bits| bits & REAL_AS_FLOAT != 0),
                explicit_timestamps: query.explicit_defaults_for_timestamp.unwrap_or(true),
                charset,
                collation,
            };
            let known =
                |name: &TableName| self.followed.peek(name).map(|followed| followed.definition.clone());
            fates = interpret(&statement, &text, &context, &known);
        }
        for (name, fate) in fates {
            if !scope.follows(&name)? || copied(&name) {
                continue;
            }
            self.unsaved.remove(&name);
            if let Fate::Is(definition) = fate {
                let followed = Followed { definition, origin: Origin::Ddl, location: place.to_owned() };
                tracked.statements.push(self.table.put_sql(&name, &followed));
                self.set(name, followed);
            } else {
                if fate == Fate::Unknown && self.names.contains(&name) {
                    tracing::info!(table = %name, location = %place,
                        "a statement is not followed: the table's definition will be derived from elsewhere");
                }
                tracked.statements.push(self.table.delete_sql(&name));
                self.remove(&name);
            }
        }
        Ok(tracked)
    }

    /// A statement of no known kind: whatever it names may have changed.
    fn not_understood(
        &mut self,
        scope: &Scope,
        statement: &Statement,
        place: &str,
    ) -> Result<Tracked, CodedError> {
        let mut tracked = Tracked::default();
        for reference in &statement.tables {
            if scope.follows(&reference.name)? && self.remove(&reference.name) {
                tracing::warn!(table = %reference.name, location = %place,
                    "a statement is not understood: the table's definition will be derived from elsewhere");
                self.unsaved.remove(&reference.name);
                tracked.statements.push(self.table.delete_sql(&reference.name));
                tracked.concerned = true;
            }
        }
        Ok(tracked)
    }

    /// What a new text column of a new table in this database is, as the source says now.
    async fn charset(&mut self, source: Option<&Endpoint>, schema: &str) -> Charset {
        if let Some(charset) = self.charsets.get(schema) {
            return charset.clone();
        }
        let Some(source) = source else { return Charset::default() };
        match schema_charset(source, schema).await {
            Ok(charset) => {
                self.charsets.insert(schema.to_owned(), charset.clone());
                charset
            }
            Err(error) => {
                tracing::warn!(schema, error = %error, "the source's default character set cannot be asked for");
                Charset::default()
            }
        }
    }
}

async fn schema_charset(source: &Endpoint, schema: &str) -> Result<Charset, SqlError> {
    let mut conn = Connection::connect(source, &SessionOptions::default()).await?;
    let sql = format!(
        "SELECT DEFAULT_CHARACTER_SET_NAME, DEFAULT_COLLATION_NAME FROM information_schema.SCHEMATA \
         WHERE SCHEMA_NAME = {}",
        text_literal(schema)
    );
    let row = conn.query_one(sql).await?;
    conn.close().await;
    Ok(row.map(|row| (row.string(0), row.string(1))).unwrap_or_default())
}

/// What following a statement has to leave in the target, in the transaction in which the watermark passes it.
#[derive(Debug, Default)]
pub struct Tracked {
    /// Statements on the meta tables.
    pub statements: Vec<String>,
    concerned: bool,
}

impl Tracked {
    /// Adds what else belongs into that transaction.
    pub fn also(&mut self, statements: Vec<String>) {
        self.concerned = true;
        self.statements.extend(statements);
    }

    /// The statement concerns no table that is followed.
    pub fn is_empty(&self) -> bool {
        !self.concerned
    }
}

/// Statements as the body of a transaction.
pub struct Statements<'a>(pub &'a [String]);

#[async_trait]
impl ApplyBody for Statements<'_> {
    async fn run(&mut self, transaction: &mut TargetTransaction<'_>) -> Result<(), ApplyError> {
        for sql in self.0 {
            transaction.execute(sql).await?;
        }
        Ok(())
    }
}
