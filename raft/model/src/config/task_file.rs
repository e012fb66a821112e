//! Reading task.yaml: DM's field names, its rules in its order, references resolved.

use std::collections::{BTreeMap, BTreeSet};

use super::fields::{Fields, did_you_mean};
use super::rules::{
    expression_traps, filter_traps, read_block_allow_list, read_expression_filter, read_filter, read_route,
    reject_bad_expression_filter, reject_bad_filter, reject_bad_route, route_traps,
};
use super::source::SOURCE_ID_CHARS_MAX;
use super::task::ENDPOINT;
use super::warnings::Warnings;
use super::{
    BlockAllowListConfig, DumpConfig, Endpoint, ImportMode, InstanceConfig, LoadConfig, ShardMode, StartMeta,
    SyncConfig, TaskConfig, TaskMode, ValidatorConfig, passwords, yaml,
};
use crate::codes;
use crate::error::CodedError;
use crate::ids::{SourceId, TaskName};
use crate::secret::SecretKey;

/// Metadata tables are called `<task>_…`, and MySQL's names have 64 characters.
const TASK_NAME_CHARS_MAX: usize = 64 - "_syncer_checkpoint".len();
const SCHEMA_NAME_CHARS_MAX: usize = 64;
const DEFAULT_META_SCHEMA: &str = "dm_meta";
const DEFAULT_SHADOW_RULE: &str = "^_(.+)_(?:new|gho)$";
const DEFAULT_TRASH_RULE: &str = "^_(.+)_(?:ghc|del|old)$";

/// What `ignore-checking-items` may name.
const CHECK_ITEMS: &[&str] = &[
    "all",
    "version",
    "server_id",
    "binlog_enable",
    "binlog_format",
    "binlog_row_image",
    "replication_privilege",
    "online_ddl",
    "binlog_db",
    "dump_privilege",
    "meta_position",
    "conn_number",
    "target_privilege",
    "table_schema",
    "schema_of_shard_tables",
    "auto_increment_ID",
    "primary_key",
    "empty_region",
    "region_distribution",
    "downstream_version",
    "free_space",
    "downstream_mutex_features",
    "downstream_table_empty",
    // Not DM's.
    "target_triggers",
    "packet_size",
];
/// Those that DM looks at for TiDB's physical import only.
const PHYSICAL_IMPORT_ITEMS: [&str; 6] = [
    "empty_region",
    "region_distribution",
    "downstream_version",
    "free_space",
    "downstream_mutex_features",
    "downstream_table_empty",
];

/// An instance as it is written.
struct RawInstance {
    source_id: String,
    meta: Option<StartMeta>,
    route_rules: Vec<String>,
    filter_rules: Vec<String>,
    expression_filters: Vec<String>,
    block_allow_list: String,
    dump: RawUnit<DumpConfig>,
    load: RawUnit<LoadConfig>,
    sync: RawUnit<SyncConfig>,
    validator_name: String,
}

/// A unit of an instance: by name or written out, and an override of its connections.
struct RawUnit<T> {
    name: String,
    inline: Option<T>,
    connections: Option<usize>,
}

/// The named sets.
struct Named<T> {
    key: &'static str,
    entries: BTreeMap<String, T>,
    used: BTreeSet<String>,
}

impl<T: Clone> Named<T> {
    fn new(key: &'static str, entries: BTreeMap<String, T>) -> Self {
        Self { key, entries, used: BTreeSet::new() }
    }

    fn take(&mut self, name: &str, not_found: impl FnOnce() -> CodedError) -> Result<T, CodedError> {
        let Some(entry) = self.entries.get(name) else {
            let names: Vec<&str> = self.entries.keys().map(String::as_str).collect();
            return Err(match did_you_mean(name, &names) {
                Some(meant) => not_found().remedy(format!("did you mean `{meant}`?")),
                None => not_found(),
            });
        };
        self.used.insert(name.to_owned());
        Ok(entry.clone())
    }

    fn unused(&self) -> impl Iterator<Item = String> {
        self.entries
            .keys()
            .filter(|name| !self.used.contains(*name))
            .map(|name| format!("{}.{name}", self.key))
    }
}

/// What the task's mode has to do with files.
#[derive(Clone, Copy)]
struct Files {
    /// It writes a dump.
    written: bool,
    /// It writes or reads one.
    used: bool,
}

/// Reads and checks the file.
pub(super) fn read(
    text: &str,
    key: Option<&SecretKey>,
    warnings: &mut Warnings,
) -> Result<TaskConfig, CodedError> {
    let root = yaml::parse(text)?;
    let mut fields = Fields::new(&root, "")?;
    // Decoding first, rules second, as DM does: a misspelt key is reported as such.
    let name = fields.text("name")?;
    let mode = fields.text("task-mode")?;
    let files = Files {
        written: mode == TaskMode::Dump.as_str(),
        used: [TaskMode::Dump, TaskMode::Load, TaskMode::LoadAndSync]
            .iter()
            .any(|with| with.as_str() == mode),
    };
    let is_sharding = fields.opt_bool("is-sharding")?;
    let shard_mode_empty = fields.has("shard-mode") && fields.node("shard-mode").is_none();
    let shard_mode = fields.text("shard-mode")?;
    let strict_optimistic_shard_mode = fields.bool("strict-optimistic-shard-mode", false)?;
    let ignore_checking_items = fields.texts("ignore-checking-items")?;
    let meta_schema = fields.opt_text("meta-schema")?.filter(|schema| !schema.is_empty());
    let timezone = fields.text("timezone")?;
    let case_sensitive = fields.bool("case-sensitive", false)?;
    let collation = fields.text("collation_compatible")?;
    let mut online_ddl = fields.bool("online-ddl", true)?;
    let shadow_rules = fields.texts("shadow-table-rules")?;
    let trash_rules = fields.texts("trash-table-rules")?;
    let online_scheme = fields.text("online-ddl-scheme")?;
    let clean_dump_file_given = fields.has("clean-dump-file");
    let clean_dump_file = fields.bool("clean-dump-file", true)?;
    let remove_meta = fields.bool("remove-meta", false)?;
    let async_checkpoint_flush = read_experimental(&mut fields)?;
    for (key, why) in [
        ("enable-heartbeat", "deprecated; lag is measured from the stream itself"),
        ("heartbeat-update-interval", "deprecated; lag is measured from the stream itself"),
        ("heartbeat-report-interval", "deprecated; lag is measured from the stream itself"),
        ("ansi-quotes", "deprecated; the sql_mode of each statement is known"),
        ("remove-meta", "deprecated; use `start-task --remove-meta`"),
    ] {
        if fields.has(key) {
            warnings.never(key, why);
        }
    }
    let target = match fields.map(ENDPOINT)? {
        Some(target) => Some(Endpoint::read(target, key, ENDPOINT, warnings)?),
        None => None,
    };

    let mut routes = BTreeMap::new();
    for (name, _, inner) in fields.named("routes")? {
        routes.insert(name.to_owned(), read_route(inner, name)?);
    }
    let mut filters = BTreeMap::new();
    for (name, _, inner) in fields.named("filters")? {
        filters.insert(name.to_owned(), read_filter(inner, name)?);
    }
    let mut expressions = BTreeMap::new();
    for (name, _, inner) in fields.named("expression-filter")? {
        expressions.insert(name.to_owned(), read_expression_filter(inner, name)?);
    }
    let mut lists = BTreeMap::new();
    for (name, _, inner) in fields.named("block-allow-list")? {
        lists.insert(name.to_owned(), read_block_allow_list(inner)?);
    }
    let mut old_lists = BTreeMap::new();
    for (name, _, inner) in fields.named("black-white-list")? {
        old_lists.insert(name.to_owned(), read_block_allow_list(inner)?);
    }
    let mut dumps = BTreeMap::new();
    for (name, _, inner) in fields.named("mydumpers")? {
        let path = format!("mydumpers.{name}");
        dumps.insert(name.to_owned(), DumpConfig::read(inner, &path, files.written, warnings)?);
    }
    let mut loads = BTreeMap::new();
    for (name, _, inner) in fields.named("loaders")? {
        let path = format!("loaders.{name}");
        loads.insert(name.to_owned(), LoadConfig::read(inner, &path, files.used, warnings)?);
    }
    let mut syncs = BTreeMap::new();
    for (name, _, inner) in fields.named("syncers")? {
        syncs.insert(name.to_owned(), SyncConfig::read(inner, &format!("syncers.{name}"), warnings)?);
    }
    let mut validators = BTreeMap::new();
    for (name, _, inner) in fields.named("validators")? {
        let path = format!("validators.{name}");
        validators.insert(name.to_owned(), ValidatorConfig::read(inner, &path, warnings)?);
    }
    let column_mappings = fields.named("column-mappings")?.len();
    let mut instances = Vec::new();
    for (index, item) in fields.list("mysql-instances")?.iter().enumerate() {
        let path = format!("mysql-instances[{index}]");
        instances.push(read_instance(Fields::new(item, path.clone())?, &path, files, warnings)?);
    }
    fields.finish()?;

    // The rules.
    check_name(&name)?;
    let mode = parse_mode(&mode)?;
    let shard_mode = parse_shard_mode(&shard_mode, shard_mode_empty, is_sharding, warnings)?;
    if strict_optimistic_shard_mode && shard_mode != ShardMode::Optimistic {
        return Err(CodedError::new(
            codes::CONFIG_STRICT_OPTIMISTIC_SHARD_MODE,
            "cannot enable `strict-optimistic-shard-mode` while `shard-mode` is not `optimistic`",
        ));
    }
    for item in &ignore_checking_items {
        if !CHECK_ITEMS.contains(&item.as_str()) {
            return Err(CodedError::new(
                codes::CONFIG_CHECK_ITEM_NOT_SUPPORT,
                format!("checking item {item} is not supported; supported are {}", CHECK_ITEMS.join(", ")),
            ));
        }
        if PHYSICAL_IMPORT_ITEMS.contains(&item.as_str()) {
            warnings.never(&format!("ignore-checking-items: {item}"), "it is about TiDB's physical import");
        }
    }
    match online_scheme.as_str() {
        "" => {}
        "gh-ost" | "pt" => {
            online_ddl = true;
            warnings.say(
                "`online-ddl-scheme` is deprecated: `online-ddl: true` stands for both tools".to_owned(),
            );
        }
        _ => {
            return Err(CodedError::new(
                codes::CONFIG_ONLINE_SCHEME_NOT_SUPPORT,
                format!("online scheme {online_scheme} not supported"),
            ));
        }
    }
    let shadow_table_rules = online_rules("shadow-table-rules", shadow_rules, DEFAULT_SHADOW_RULE)?;
    let trash_table_rules = online_rules("trash-table-rules", trash_rules, DEFAULT_TRASH_RULE)?;
    let collation_strict = match collation.as_str() {
        "" | "loose" => false,
        "strict" => {
            warnings.later("collation_compatible: strict", "statements are applied as the source wrote them");
            true
        }
        _ => {
            return Err(CodedError::new(
                codes::CONFIG_COLLATION_COMPATIBLE_NOT_SUPPORT,
                format!("collation compatible {collation} not supported"),
            ));
        }
    };
    check_timezone(&timezone)?;
    // A dump of Dumpling does not say its time zone.
    if !timezone.is_empty() && (!files.used || files.written) {
        warnings.never("timezone", "rows travel in UTC and each DDL runs in the time zone the source logged");
    }
    let meta_schema = meta_schema.unwrap_or_else(|| DEFAULT_META_SCHEMA.to_owned());
    if meta_schema.chars().count() > SCHEMA_NAME_CHARS_MAX {
        return Err(CodedError::new(
            codes::CONFIG_VALUE_INVALID,
            "`meta-schema` is longer than 64 characters",
        ));
    }
    let target = target
        .ok_or_else(|| CodedError::new(codes::CONFIG_NEED_TARGET_DB, "must specify target-database"))?;
    if instances.is_empty() {
        return Err(CodedError::new(
            codes::CONFIG_MYSQL_INSTS_AT_LEAST_ONE,
            "must specify at least one mysql-instances",
        ));
    }
    if column_mappings > 0 {
        return Err(CodedError::new(
            codes::CONFIG_COLUMN_MAPPING_DEPRECATED,
            "column-mapping is not supported since v6.6.0",
        ));
    }
    for route in routes.values() {
        reject_bad_route(route)?;
        route_traps(route, warnings);
    }
    for filter in filters.values() {
        reject_bad_filter(filter)?;
        filter_traps(filter, &format!("filters.{}", filter.name), warnings);
    }
    for filter in expressions.values() {
        reject_bad_expression_filter(filter)?;
    }
    expression_traps(expressions.values(), warnings);
    if clean_dump_file_given && !files.used {
        warnings.never("clean-dump-file", "there are no dump files");
    } else if clean_dump_file_given && clean_dump_file {
        warnings.never("clean-dump-file: true", "files are never removed");
    }
    if async_checkpoint_flush {
        warnings.never("experimental.async-checkpoint-flush", "progress is part of every target transaction");
    }
    if lists.is_empty() && !old_lists.is_empty() {
        warnings.say("`black-white-list` is deprecated: use `block-allow-list`".to_owned());
        lists = old_lists;
    }

    let mut resolver = Resolver {
        routes: Named::new("routes", routes),
        filters: Named::new("filters", filters),
        expressions: Named::new("expression-filter", expressions),
        lists,
        dumps: Named::new("mydumpers", dumps),
        loads: Named::new("loaders", loads),
        syncs: Named::new("syncers", syncs),
        validators: Named::new("validators", validators),
        mode,
    };
    let instances = resolver.instances(instances, warnings)?;
    resolver.reject_unused()?;
    let config = TaskConfig {
        name: TaskName::new(name),
        mode,
        shard_mode,
        strict_optimistic_shard_mode,
        ignore_checking_items,
        meta_schema,
        timezone,
        case_sensitive,
        collation_strict,
        target,
        instances,
        online_ddl,
        shadow_table_rules,
        trash_table_rules,
        clean_dump_file,
        remove_meta,
        async_checkpoint_flush,
        masked_yaml: passwords::mask(text, ENDPOINT)?,
    };
    check_across(&config)?;
    Ok(config)
}

fn read_experimental(fields: &mut Fields<'_>) -> Result<bool, CodedError> {
    let Some(mut experimental) = fields.map("experimental")? else { return Ok(false) };
    let flag = experimental.bool("async-checkpoint-flush", false)?;
    experimental.finish()?;
    Ok(flag)
}

fn read_instance(
    mut fields: Fields<'_>,
    path: &str,
    files: Files,
    warnings: &mut Warnings,
) -> Result<RawInstance, CodedError> {
    let meta = match fields.map("meta")? {
        None => None,
        Some(mut meta) => {
            let start = StartMeta {
                binlog_name: meta.text("binlog-name")?,
                binlog_pos: meta.int("binlog-pos", 0)?,
                binlog_gtid: meta.text("binlog-gtid")?,
            };
            meta.finish()?;
            Some(start)
        }
    };
    if fields.has("column-mapping-rules") {
        warnings.never(&format!("{path}.column-mapping-rules"), "deprecated, ignored by DM as well");
    }
    let mut list = fields.text("block-allow-list")?;
    let old_list = fields.text("black-white-list")?;
    if list.is_empty() {
        list = old_list;
    }
    let mut override_of = |key: &'static str| -> Result<Option<usize>, CodedError> {
        // 0 keeps the unit's own value.
        Ok(fields.opt_int::<u16>(key)?.filter(|count| *count > 0).map(usize::from))
    };
    let (dump_threads, load_threads, sync_threads) =
        (override_of("mydumper-thread")?, override_of("loader-thread")?, override_of("syncer-thread")?);
    let dump = match fields.map("mydumper")? {
        Some(inner) => Some(DumpConfig::read(inner, &format!("{path}.mydumper"), files.written, warnings)?),
        None => None,
    };
    let load = match fields.map("loader")? {
        Some(inner) => Some(LoadConfig::read(inner, &format!("{path}.loader"), files.used, warnings)?),
        None => None,
    };
    let sync = match fields.map("syncer")? {
        Some(inner) => Some(SyncConfig::read(inner, &format!("{path}.syncer"), warnings)?),
        None => None,
    };
    let instance = RawInstance {
        source_id: fields.text("source-id")?,
        meta,
        route_rules: fields.texts("route-rules")?,
        filter_rules: fields.texts("filter-rules")?,
        expression_filters: fields.texts("expression-filters")?,
        block_allow_list: list,
        dump: RawUnit { name: fields.text("mydumper-config-name")?, inline: dump, connections: dump_threads },
        load: RawUnit { name: fields.text("loader-config-name")?, inline: load, connections: load_threads },
        sync: RawUnit { name: fields.text("syncer-config-name")?, inline: sync, connections: sync_threads },
        validator_name: fields.text("validator-config-name")?,
    };
    fields.finish()?;
    Ok(instance)
}

struct Resolver {
    routes: Named<super::RouteRule>,
    filters: Named<super::FilterRule>,
    expressions: Named<super::ExpressionFilter>,
    lists: BTreeMap<String, BlockAllowListConfig>,
    dumps: Named<DumpConfig>,
    loads: Named<LoadConfig>,
    syncs: Named<SyncConfig>,
    validators: Named<ValidatorConfig>,
    mode: TaskMode,
}

impl Resolver {
    fn instances(
        &mut self,
        raw: Vec<RawInstance>,
        warnings: &mut Warnings,
    ) -> Result<Vec<InstanceConfig>, CodedError> {
        let mut seen: BTreeMap<String, usize> = BTreeMap::new();
        let mut instances = Vec::with_capacity(raw.len());
        for (index, instance) in raw.into_iter().enumerate() {
            check_source_id(&instance.source_id)
                .map_err(|err| err.annotate(format!("mysql-instance: {index}th")))?;
            if let Some(first) = seen.insert(instance.source_id.clone(), index) {
                return Err(CodedError::new(
                    codes::CONFIG_MYSQL_INST_SAME_SOURCE_ID,
                    format!(
                        "mysql-instance ({first}) and ({index}) have same source-id ({})",
                        instance.source_id
                    ),
                ));
            }
            instances.push(self.instance(index, instance, warnings)?);
        }
        Ok(instances)
    }

    fn instance(
        &mut self,
        index: usize,
        raw: RawInstance,
        warnings: &mut Warnings,
    ) -> Result<InstanceConfig, CodedError> {
        let source = &raw.source_id;
        match (&raw.meta, self.mode) {
            (Some(meta), TaskMode::Incremental) => {
                if meta.binlog_name.is_empty() && meta.binlog_gtid.is_empty() {
                    return Err(CodedError::new(
                        codes::CONFIG_META_INVALID,
                        "must specify `binlog-name` without GTID enabled for the source or specify `binlog-gtid` \
                         with GTID enabled for the source",
                    )
                    .object(format!("mysql-instance {source}")));
                }
            }
            (Some(_), mode) => {
                warnings.say(format!("`meta` of {source} has no effect: task-mode {mode} finds its own position"));
            }
            (None, TaskMode::Incremental) => warnings.say(format!(
                "{source} has no `meta`: without --start-time and without a checkpoint the task starts at the \
                 source's present position"
            )),
            (None, _) => {}
        }
        let refers = |what: &str, name: &str, of: &str| {
            format!("mysql-instance({index})'s {what} {name} not exist in {of}")
        };
        let mut routes = Vec::new();
        for name in &raw.route_rules {
            let code = codes::CONFIG_ROUTE_RULE_NOT_FOUND;
            let not_found = || CodedError::new(code, refers("route-rules", name, "routes"));
            routes.push(self.routes.take(name, not_found)?);
        }
        let mut filters = Vec::new();
        for name in &raw.filter_rules {
            let code = codes::CONFIG_FILTER_RULE_NOT_FOUND;
            let not_found = || CodedError::new(code, refers("filter-rules", name, "filters"));
            filters.push(self.filters.take(name, not_found)?);
        }
        let mut expression_filters = Vec::new();
        for name in &raw.expression_filters {
            let code = codes::CONFIG_EXPR_FILTER_NOT_FOUND;
            let not_found = || CodedError::new(code, refers("expression-filters", name, "expression-filter"));
            expression_filters.push(self.expressions.take(name, not_found)?);
        }
        reject_duplicates(&[&raw.route_rules, &raw.filter_rules, &raw.expression_filters])?;
        let block_allow_list = match raw.block_allow_list.as_str() {
            "" => BlockAllowListConfig::default(),
            name => self.lists.get(name).cloned().ok_or_else(|| {
                CodedError::new(codes::CONFIG_BA_LIST_NOT_FOUND, refers("list", name, "block allow list"))
            })?,
        };
        let mut dump = unit(
            &mut self.dumps,
            &raw.dump,
            codes::CONFIG_MYDUMPER_CFG_CONFLICT,
            "mydumper-config-name and mydumper should only specify one",
            |name| {
                CodedError::new(
                    codes::CONFIG_MYDUMPER_CFG_NOT_FOUND,
                    refers("mydumper config", name, "mydumpers"),
                )
            },
        )?;
        if self.mode.has_full_copy() && dump.mydumper_path.is_empty() {
            return Err(CodedError::new(
                codes::CONFIG_MYDUMPER_PATH_NOT_VALID,
                format!(
                    "mysql-instance({index})'s mydumper-path must specify a valid path to mydumper binary when \
                     task-mode is all or full"
                ),
            ));
        }
        let mut load = unit(
            &mut self.loads,
            &raw.load,
            codes::CONFIG_LOADER_CFG_CONFLICT,
            "loader-config-name and loader should only specify one",
            |name| {
                CodedError::new(codes::CONFIG_LOADER_CFG_NOT_FOUND, refers("loader config", name, "loaders"))
            },
        )?;
        let mut sync = unit(
            &mut self.syncs,
            &raw.sync,
            codes::CONFIG_SYNCER_CFG_CONFLICT,
            "syncer-config-name and syncer should only specify one",
            |name| {
                CodedError::new(codes::CONFIG_SYNCER_CFG_NOT_FOUND, refers("syncer config", name, "syncer"))
            },
        )?;
        dump.threads = raw.dump.connections.unwrap_or(dump.threads);
        load.pool_size = raw.load.connections.unwrap_or(load.pool_size);
        sync.worker_count = raw.sync.connections.unwrap_or(sync.worker_count);
        let validator = match raw.validator_name.as_str() {
            "" => ValidatorConfig::default(),
            name => self.validators.take(name, || {
                CodedError::new(
                    codes::CONTINUOUS_VALIDATOR_CFG_NOT_FOUND,
                    format!("mysql-instance({index})'s continuous validator config {name} not exist"),
                )
            })?,
        };
        Ok(InstanceConfig {
            source_id: SourceId::new(raw.source_id),
            meta: raw.meta,
            routes,
            filters,
            expression_filters,
            block_allow_list,
            dump,
            load,
            sync,
            validator,
        })
    }

    fn reject_unused(&self) -> Result<(), CodedError> {
        let mut unused: Vec<String> = (self.routes.unused())
            .chain(self.filters.unused())
            .chain(self.expressions.unused())
            .chain(self.dumps.unused())
            .chain(self.loads.unused())
            .chain(self.syncs.unused())
            .chain(self.validators.unused())
            .collect();
        if unused.is_empty() {
            return Ok(());
        }
        unused.sort();
        Err(CodedError::new(
            codes::CONFIG_GLOBAL_CONFIGS_UNUSED,
            format!(
                "The configurations as following [{}] are set in global configuration but instances don't use them",
                unused.join(" ")
            ),
        ))
    }
}

fn unit<T: Clone + Default>(
    named: &mut Named<T>,
    raw: &RawUnit<T>,
    conflict: u32,
    message: &str,
    not_found: impl FnOnce(&str) -> CodedError,
) -> Result<T, CodedError> {
    match (&raw.inline, raw.name.as_str()) {
        (Some(_), name) if !name.is_empty() => Err(CodedError::new(conflict, message)),
        (Some(inline), _) => Ok(inline.clone()),
        (None, "") => Ok(T::default()),
        (None, name) => named.take(name, || not_found(name)),
    }
}

fn reject_duplicates(lists: &[&Vec<String>]) -> Result<(), CodedError> {
    let mut duplicates = BTreeSet::new();
    for list in lists {
        let mut seen = BTreeSet::new();
        duplicates.extend(list.iter().filter(|name| !seen.insert(name.as_str())).map(String::as_str));
    }
    if duplicates.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = duplicates.into_iter().collect();
    Err(CodedError::new(
        codes::CONFIG_DUPLICATE_CFG_ITEM,
        format!(
            "the following mysql configs have duplicate items, please remove the duplicates: {}",
            names.join(", ")
        ),
    ))
}

fn check_name(name: &str) -> Result<(), CodedError> {
    if name.is_empty() {
        return Err(CodedError::new(codes::CONFIG_NEED_UNIQUE_TASK_NAME, "must specify a unique task name"));
    }
    if name.chars().count() > TASK_NAME_CHARS_MAX {
        return Err(CodedError::new(
            codes::CONFIG_VALUE_INVALID,
            format!("`name` is longer than {TASK_NAME_CHARS_MAX} characters"),
        )
        .remedy("metadata tables in the target carry the task's name and may have 64 characters"));
    }
    Ok(())
}

fn check_source_id(id: &str) -> Result<(), CodedError> {
    if id.is_empty() {
        return Err(CodedError::new(codes::CONFIG_EMPTY_SOURCE_ID, "empty source-id not valid"));
    }
    if id.chars().count() > SOURCE_ID_CHARS_MAX {
        return Err(CodedError::new(codes::CONFIG_TOO_LONG_SOURCE_ID, "too long source-id not valid"));
    }
    Ok(())
}

fn parse_mode(mode: &str) -> Result<TaskMode, CodedError> {
    let all = [
        TaskMode::Full,
        TaskMode::Incremental,
        TaskMode::All,
        TaskMode::Dump,
        TaskMode::Load,
        TaskMode::LoadAndSync,
    ];
    all.into_iter().find(|known| known.as_str() == mode).ok_or_else(|| {
        CodedError::new(
            codes::CONFIG_INVALID_TASK_MODE,
            format!("please specify right task-mode, support `full`, `incremental`, `all`, `dump`, `load`, not `{mode}`"),
        )
    })
}

fn parse_shard_mode(
    text: &str,
    empty_line: bool,
    is_sharding: Option<bool>,
    warnings: &mut Warnings,
) -> Result<ShardMode, CodedError> {
    let refuse = |message: String| Err(CodedError::new(codes::CONFIG_SHARD_MODE_NOT_SUPPORT, message));
    let mode = match (text, is_sharding) {
        ("", Some(true)) if empty_line => {
            return refuse("shard mode none not supported with `is-sharding: true`".to_owned());
        }
        ("", Some(true)) => ShardMode::Pessimistic,
        ("", _) => ShardMode::None,
        (_, Some(false)) => {
            return refuse(format!("shard mode {text} not supported with `is-sharding: false`"));
        }
        ("pessimistic", _) => ShardMode::Pessimistic,
        ("optimistic", _) => ShardMode::Optimistic,
        _ => return refuse(format!("shard mode {text} not supported")),
    };
    if is_sharding.is_some() {
        warnings.say("`is-sharding` is deprecated: use `shard-mode`".to_owned());
    }
    if mode != ShardMode::None {
        warnings.later("shard-mode", "each source's DDL is executed on its own, without coordination");
    }
    Ok(mode)
}

fn online_rules(setting: &str, rules: Vec<String>, default: &str) -> Result<Vec<String>, CodedError> {
    if rules.is_empty() {
        return Ok(vec![default.to_owned()]);
    }
    let mut complete = Vec::with_capacity(rules.len());
    for rule in rules {
        let mut pattern = rule.clone();
        if !pattern.starts_with('^') {
            pattern.insert(0, '^');
        }
        if !pattern.ends_with('$') {
            pattern.push('$');
        }
        let invalid = |reason: String| {
            CodedError::new(
                codes::CONFIG_ONLINE_DDL_INVALID_REGEX,
                format!("config '{setting}' regex pattern '{rule}' invalid, reason: {reason}"),
            )
        };
        let regex = regex::Regex::new(&pattern).map_err(|err| invalid(err.to_string()))?;
        // The whole match counts as a group.
        if regex.captures_len() != 2 {
            return Err(invalid("it must have exactly one capture group".to_owned()));
        }
        complete.push(pattern);
    }
    Ok(complete)
}

fn check_timezone(text: &str) -> Result<(), CodedError> {
    if text.is_empty() || is_offset(text) {
        return Ok(());
    }
    // Names only: `Local` and `SYSTEM` mean something else on every machine.
    let known = jiff::tz::TimeZoneDatabase::bundled().get(text).is_ok();
    if known && !text.eq_ignore_ascii_case("local") && !text.eq_ignore_ascii_case("system") {
        return Ok(());
    }
    Err(CodedError::new(codes::CONFIG_INVALID_TIMEZONE, format!("invalid timezone string: {text}")))
}

/// `±HH:MM` between -12:59 and +14:00.
fn is_offset(text: &str) -> bool {
    let bytes = text.as_bytes();
    let [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] = bytes else { return false };
    if ![h1, h2, m1, m2].iter().all(|digit| digit.is_ascii_digit()) {
        return false;
    }
    let number = |tens: &u8, ones: &u8| i32::from(tens - b'0') * 10 + i32::from(ones - b'0');
    let (hours, minutes) = (number(h1, h2), number(m1, m2));
    let total = hours * 60 + minutes;
    let (highest, total) = if *sign == b'+' { (14 * 60, total) } else { (12 * 60 + 59, total) };
    minutes < 60 && total <= highest
}

/// Rules about several parts of the task.
fn check_across(config: &TaskConfig) -> Result<(), CodedError> {
    let modes: BTreeSet<&str> = config
        .instances
        .iter()
        .map(|instance| match instance.load.import_mode {
            ImportMode::Logical => "logical",
            ImportMode::Physical => "physical",
            ImportMode::ImportInto => "import-into",
        })
        .collect();
    if modes.contains("import-into") && (config.instances.len() > 1 || config.shard_mode != ShardMode::None) {
        return Err(CodedError::new(
            codes::CONFIG_IMPORT_INTO_SHARDING_NOT_SUPPORT,
            "import-into mode does not support sharding (multi-source) scenario",
        ));
    }
    if modes.len() > 1 {
        let list: Vec<&str> = modes.into_iter().collect();
        return Err(CodedError::new(
            codes::CONFIG_INVALID_LOAD_MODE,
            format!("invalid load mode '{}'", list.join("' and '")),
        )
        .remedy("all instances of a task share one `import-mode`"));
    }
    if config.target.has_foreign_key_checks() {
        for instance in &config.instances {
            for (option, given) in
                [("compact", instance.sync.compact), ("multiple-rows", instance.sync.multiple_rows)]
            {
                if given == Some(true) {
                    return Err(CodedError::new(
                        codes::CONFIG_UNSUPPORTED_FOREIGN_KEY_CHECKS_OPTION,
                        format!("`{option}` is not supported when foreign_key_checks=1"),
                    ));
                }
            }
        }
    }
    Ok(())
}
