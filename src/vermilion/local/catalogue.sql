-- What exists: tenants, databases, collections. Records have a file for each collection.

create table head (
    id     integer primary key check (id = 1),
    format integer not null
);
insert into head (id, format) values (1, 2);

create table tenants (
    name text primary key
) without rowid;

create table databases (
    id     text primary key,
    tenant text not null references tenants (name),
    name   text not null,
    unique (tenant, name)
) without rowid;

-- Ascending key is the order in which collections were created.
create table collections (
    key           integer primary key autoincrement,
    id            text not null unique,
    database      text not null references databases (id),
    name          text not null,
    metadata      text,           -- JSON
    configuration text not null,  -- JSON
    schema        text,           -- JSON
    dimension     integer,        -- null: not known yet; 0: it has changed, the records know it
    unique (database, name)
);

-- Deleted collections whose files may still be there.
create table deleted (
    id text primary key
) without rowid;

-- For people with an SQL shell.
create view readable as
    select d.tenant, d.name as database, c.name as collection, c.id, c.metadata, c.configuration
    from collections c join databases d on d.id = c.database
    order by d.tenant, d.name, c.key;

insert into tenants (name) values ('default_tenant');
insert into databases (id, tenant, name)
values ('00000000-0000-0000-0000-000000000000', 'default_tenant', 'default_database');
