//! Event filters on the stream: which rows and which operations of statements go on.

use std::borrow::Cow;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use dmnode_model::TableName;
use dmnode_model::error::CodedError;
use dmnode_mysql::{QueryEvent, RowsEvent};
use dmnode_schema::{
    FilteredStatement, NameRole, SqlMode, Statement, StatementFilter, StatementKind,
    strip_create_select_suffix,
};

use super::ddl::lower_case;
use super::stream::Stream;

impl Stream {
    /// Whether the filters leave out the rows of an event. Asked before the target's table is looked at: it need not
    /// exist.
    pub(super) fn leaves_out(&self, rows: &RowsEvent) -> Result<bool, CodedError> {
        let name = &rows.table.name;
        if self.scope.filter().is_empty() || !self.scope.has_table(name)? {
            return Ok(false);
        }
        let left_out = self.scope.leaves_out(name, rows.kind)?;
        if left_out {
            self.shared.counters.filtered.fetch_add(1, Ordering::Relaxed);
        }
        Ok(left_out)
    }

    /// A table that comes up and nearly matches the patterns of the task is probably one that was meant.
    pub(super) fn look_at_new_tables(&mut self, query: &QueryEvent) -> Result<(), CodedError> {
        let Some(text) = query.sql_text() else { return Ok(()) };
        let mode =
            query.sql_mode.map(|bits| SqlMode::from_bits(bits, self.reader.flavor())).unwrap_or_default();
        let mut statement = Statement::classify(&text, &query.schema, mode);
        if self.scope.lower_case {
            lower_case(&mut statement);
        }
        let created = matches!(statement.kind, StatementKind::CreateTable { temporary: false, .. });
        for reference in &statement.tables {
            let is_new =
                reference.role == NameRole::RenameTo || (created && reference.role == NameRole::Target);
            if is_new && let Some(warning) = self.scope.misses(&reference.name)? {
                self.shared.warn(warning);
            }
        }
        Ok(())
    }

    /// What the filters leave of a statement; `None` for nothing.
    pub(super) async fn filtered<'q>(
        &mut self,
        query: &'q QueryEvent,
    ) -> Result<Option<Cow<'q, QueryEvent>>, CodedError> {
        if self.scope.filter().is_empty() {
            return Ok(Some(Cow::Borrowed(query)));
        }
        // In a character set that cannot be read the statement is refused later.
        let Some(text) = query.sql_text() else { return Ok(Some(Cow::Borrowed(query))) };
        let mode =
            query.sql_mode.map(|bits| SqlMode::from_bits(bits, self.reader.flavor())).unwrap_or_default();
        let sql = strip_create_select_suffix(&text, mode);
        let mut statement = Statement::classify(&sql, &query.schema, mode);
        if self.scope.lower_case {
            lower_case(&mut statement);
        }
        let before = self.definition_before(&statement, &sql, mode).await?;
        let filtered = StatementFilter {
            filter: self.scope.filter(),
            sql: &sql,
            mode,
            statement: &statement,
            schema: &query.schema,
            before: before.as_deref(),
        }
        .apply(&|name| self.scope.has_table(name))?;
        let rest = match filtered {
            FilteredStatement::Whole => return Ok(Some(Cow::Borrowed(query))),
            FilteredStatement::Nothing(rule) => {
                tracing::info!(rule, objects = %objects(&statement), "a statement is left out by a filter");
                None
            }
            FilteredStatement::Part { sql, rule } => {
                tracing::info!(rule, objects = %objects(&statement), "a part of a statement is left out by a filter");
                // The text is UTF-8 now.
                let rest = QueryEvent { sql: Bytes::from(sql), client_collation: None, ..query.clone() };
                Some(Cow::Owned(rest))
            }
        };
        self.shared.counters.filtered.fetch_add(1, Ordering::Relaxed);
        Ok(rest)
    }

    /// What the changed table looks like, if the kind of the change depends on it.
    async fn definition_before(
        &mut self,
        statement: &Statement,
        sql: &str,
        mode: SqlMode,
    ) -> Result<Option<String>, CodedError> {
        if !self.scope.filter().needs_definitions() || !StatementFilter::compares_columns(sql, mode) {
            return Ok(None);
        }
        let target = statement.tables.iter().find(|t| t.role == NameRole::Target).map(|t| &t.name);
        let Some(name) = target else { return Ok(None) };
        if !self.scope.has_table(name)? {
            return Ok(None);
        }
        let target = self.scope.router().route(name)?;
        self.tables.definition(&target).await
    }
}

fn objects(statement: &Statement) -> String {
    let names: Vec<String> = statement.changed_tables().map(TableName::quoted).collect();
    let schemas = statement.schemas.iter().map(|schema| dmnode_model::quote_ident(&schema.name));
    names.into_iter().chain(schemas).collect::<Vec<_>>().join(", ")
}
