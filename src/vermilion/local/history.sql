-- What records were before they were changed: for as long as the collection keeps its history.
-- Triggers write it, so that no write can forget to.

create table calls (
    seq      integer primary key,  -- last entry of the log after a call that wrote,
    before   integer not null,     -- and before it
    made     integer not null,     -- when: milliseconds since 1970, never descending
    next_key integer not null      -- keys from here on are of records that it, or a later one, made
);

-- Up to when the past is forgotten.
create table reach (since integer not null);
insert into reach (since) values (cast(unixepoch('subsec') * 1000 as integer));

-- Cells and vectors as they were until the call whose `before` is `until`. What that call did:
-- 0 changed the record, 1 deleted it, 2 brought it back: until then there was none.
create table past_records (
    key      integer not null,
    until    integer not null,
    what     integer not null,
    id       text    not null,
    document text,
    uri      text,
    metadata text,
    crc      integer not null,
    primary key (key, until)
) without rowid;
create table past_vectors (
    key    integer not null,
    until  integer not null,
    vector blob    not null,
    crc    integer not null,
    primary key (key, until)
) without rowid;
create index past_records_until on past_records (until);
create index past_vectors_until on past_vectors (until);

create trigger call_made after update of seq on head when new.seq > old.seq begin
    insert into calls (seq, before, made, next_key) values (
        new.seq,
        old.seq,
        max(cast(unixepoch('subsec') * 1000 as integer), (select max(since) from reach),
            coalesce((select made from calls order by seq desc limit 1), 0)),
        old.next_key
    );
end;
create trigger record_changes before update on records begin
    insert or ignore into past_records values (
        old.key, (select seq from head), 0, old.id, old.document, old.uri, old.metadata, old.crc);
end;
create trigger record_goes before delete on records begin
    insert into past_records values (
        old.key, (select seq from head), 1, old.id, old.document, old.uri, old.metadata, old.crc)
    on conflict (key, until) do update set what = 1;
end;
create trigger record_returns after insert on records
when new.key < (select next_key from head) begin
    insert into past_records values (
        new.key, (select seq from head), 2, new.id, null, null, null, 0);
end;
create trigger vector_changes before update on vectors begin
    insert or ignore into past_vectors values (
        old.key, (select seq from head), old.vector, old.crc);
end;
create trigger vector_goes before delete on vectors begin
    insert or ignore into past_vectors values (
        old.key, (select seq from head), old.vector, old.crc);
end;
