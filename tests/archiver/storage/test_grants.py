from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from sqlalchemy.engine import make_url

from archiver.storage.database import open_store
from archiver.storage.mysql.tables.grants import NEEDED, missing_grants
from archiver.storage.store import StoreError
from archiver.storage.url import DatabaseUrl
from bench.rig.mariadb import Server

# Make a user with some grants; return the URL by which it logs in
Guest = Callable[..., str]


@pytest.fixture
def guest(shared_server: Server, mysql_database: str) -> Iterator[Guest]:
    """Makes a user with some grants, in which NAME stands for the database; the URL."""
    name = make_url(mysql_database).database
    assert name is not None
    users: list[str] = []

    def make(*grants: str) -> str:
        users.append(f"guest{len(users)}")
        account = f"{users[-1]}@'%'"
        shared_server.execute(f"CREATE USER {account} IDENTIFIED BY 'x'")
        for grant in grants:
            shared_server.execute(grant.replace("NAME", name).replace("USER", account))
        return shared_server.url(name, user=users[-1], password="x")

    yield make
    for user in users:
        shared_server.execute(f"DROP USER {user}@'%'")


def missing(url: str) -> list[str]:
    return missing_grants(DatabaseUrl.parse(url))


def test_a_file_has_no_grants() -> None:
    assert missing("sqlite:///rack.sqlite") == []


def test_who_has_all_lacks_nothing(mysql_database: str, guest: Guest) -> None:
    assert missing(mysql_database) == []
    assert missing(guest("GRANT ALL ON *.* TO USER")) == []


def test_what_is_needed_is_enough_and_none_of_it_is_too_much(guest: Guest) -> None:
    rights = ", ".join(NEEDED)
    url = guest(f"GRANT {rights} ON NAME.* TO USER")
    assert missing(url) == []
    open_store(url).close()


def test_the_sentence_says_what_to_do(guest: Guest, shared_server: Server) -> None:
    url = guest("GRANT SELECT, CREATE ON NAME.* TO USER", "GRANT INSERT, DELETE, DROP ON *.* TO USER")
    with pytest.raises(StoreError, match=r"command denied .*rackioc check lists"):
        open_store(url)
    (sentence,) = missing(url)
    assert "the user 'guest0'@'%' lacks UPDATE, INDEX, CREATE VIEW on " in sentence
    shared_server.execute(sentence[sentence.index("GRANT") :])
    assert missing(url) == []
    open_store(url).close()


def test_rights_on_single_tables_and_columns(guest: Guest, mysql_database: str) -> None:
    open_store(mysql_database).close()
    most = ", ".join(NEEDED[1:])
    one = guest(f"GRANT {most} ON NAME.* TO USER", "GRANT SELECT ON NAME.sample TO USER")
    assert "lacks SELECT on" in missing(one)[0]
    column = guest(f"GRANT {most} ON NAME.* TO USER", "GRANT SELECT (name) ON NAME.channel TO USER")
    assert "lacks SELECT on" in missing(column)[0]


def test_rights_of_a_role(guest: Guest, shared_server: Server) -> None:
    shared_server.execute("CREATE ROLE writers")
    url = guest("GRANT ALL ON NAME.* TO writers", "GRANT writers TO USER", "SET DEFAULT ROLE writers FOR USER")
    assert missing(url) == []
    shared_server.execute("DROP ROLE writers")
    assert f"lacks {', '.join(NEEDED)} on" in missing(url)[0]


def test_wildcards_in_the_name_of_a_database(guest: Guest) -> None:
    assert missing(guest(r"GRANT ALL ON `t\_%`.* TO USER")) == []
    assert missing(guest("GRANT ALL ON `t__%`.* TO USER")) == []
    assert missing(guest(r"GRANT ALL ON `t\__`.* TO USER")) != []


def test_of_several_patterns_the_server_looks_at_the_most_exact_one(guest: Guest) -> None:
    url = guest("GRANT ALL ON `%`.* TO USER", "GRANT SELECT ON NAME.* TO USER")
    assert "lacks INSERT" in missing(url)[0]
    with pytest.raises(StoreError, match="command denied"):
        open_store(url)


def test_no_server_and_no_login_are_errors(mysql_database: str) -> None:
    with pytest.raises(StoreError, match="is the server running"):
        missing("mysql://someone@127.0.0.1:1/archive")
    with pytest.raises(StoreError, match="Access denied"):
        missing(make_url(mysql_database).set(password="wrong").render_as_string(hide_password=False))
