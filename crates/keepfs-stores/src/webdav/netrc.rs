//! `~/.netrc` (or `$NETRC`), where curl, git and others keep passwords: the entry for one host.

use zeroize::Zeroizing;

/// Longest file that is read, in bytes.
const FILE_LEN_MAX: u64 = 1 << 20;

/// User and password for a host; those of `user` if one is given.
pub(super) fn find(host: &str, user: Option<&str>) -> Option<(String, Zeroizing<String>)> {
    let path = match std::env::var_os("NETRC") {
        Some(path) => path.into(),
        None => std::path::Path::new(&std::env::var_os("HOME")?).join(".netrc"),
    };
    if std::fs::metadata(&path).ok()?.len() > FILE_LEN_MAX {
        return None;
    }
    let text = Zeroizing::new(std::fs::read_to_string(path).ok()?);
    entry(&text, host, user)
}

fn entry(text: &str, host: &str, user: Option<&str>) -> Option<(String, Zeroizing<String>)> {
    let mut words = text.split_whitespace();
    let mut is_ours = false;
    let (mut login, mut password) = (None, None);
    let found = |login: &Option<&str>, password: &Option<&str>| match (*login, *password) {
        (Some(login), Some(password)) if user.is_none_or(|user| user == login) => {
            Some((login.to_owned(), Zeroizing::new(password.to_owned())))
        }
        _ => None,
    };
    while let Some(word) = words.next() {
        match word {
            "machine" | "default" => {
                if is_ours && let Some(found) = found(&login, &password) {
                    return Some(found);
                }
                is_ours = word == "default" || words.next() == Some(host);
                (login, password) = (None, None);
            }
            "login" => login = words.next(),
            "password" => password = words.next(),
            // Anything may follow the name of a macro, up to an empty line; passwords stand before them.
            "macdef" => break,
            _ => {}
        }
    }
    if is_ours { found(&login, &password) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entry_of_the_host_and_user_is_found() {
        let text = "machine a login me password one\nmachine b\n login you\n password two\nmachine b login me password three\ndefault login x password y";
        let found =
            |host, user| entry(text, host, user).map(|(user, password)| format!("{user}:{}", *password));
        assert_eq!(found("a", None).as_deref(), Some("me:one"));
        assert_eq!(found("b", None).as_deref(), Some("you:two"));
        assert_eq!(found("b", Some("me")).as_deref(), Some("me:three"));
        assert_eq!(found("c", None).as_deref(), Some("x:y"));
        assert_eq!(found("a", Some("nobody")), None);
        assert_eq!(entry("machine a login", "a", None), None);
    }
}
