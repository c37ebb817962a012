//! File names from tags: hostile bytes in, a path below the folder out.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Longest name of one folder or file, as on nearly every file system.
const COMPONENT_MAX: usize = 255;

/// The file of `tag` below `folder`. As Fluent Bit: `..` and blanks become `_`, slashes make folders. Beyond
/// that, no name escapes the folder: leading slashes, empty and `.` components vanish, control characters
/// become `_`, and what is too long is cut and marked with a hash of the whole.
pub(super) fn of_tag(folder: &Path, tag: &[u8]) -> PathBuf {
    let mut path = folder.to_path_buf();
    let mut named = false;
    for component in tag.split(|&byte| byte == b'/') {
        let clean = clean(component);
        if !clean.is_empty() && clean != b"." {
            path.push(os(cut(clean)));
            named = true;
        }
    }
    if !named {
        path.push("_");
    }
    path
}

fn clean(component: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(component.len());
    let mut rest = component;
    while let Some((&first, tail)) = rest.split_first() {
        if first == b'.' && tail.first() == Some(&b'.') {
            out.push(b'_');
            rest = &tail[1..];
            continue;
        }
        let bad = first <= b' ' || first == 0x7f || first == b'\\';
        out.push(if bad { b'_' } else { first });
        rest = tail;
    }
    out
}

fn cut(mut component: Vec<u8>) -> Vec<u8> {
    if component.len() <= COMPONENT_MAX {
        return component;
    }
    let hash = format!("-{:016x}", fnv(&component));
    component.truncate(COMPONENT_MAX - hash.len());
    component.extend_from_slice(hash.as_bytes());
    component
}

/// FNV-1a: stable over restarts and versions, which the standard hasher is not.
fn fnv(bytes: &[u8]) -> u64 {
    let mix = |hash: u64, &byte: &u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, mix)
}

#[cfg(unix)]
fn os(bytes: Vec<u8>) -> OsString {
    std::os::unix::ffi::OsStringExt::from_vec(bytes)
}

#[cfg(not(unix))]
fn os(bytes: Vec<u8>) -> OsString {
    String::from_utf8_lossy(&bytes).into_owned().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::path::Component;

    #[track_caller]
    fn check(tag: &str, want: &str) {
        assert_eq!(
            of_tag(Path::new("/logs"), tag.as_bytes()),
            Path::new(want),
            "{tag}"
        );
    }

    #[test]
    fn tags_become_names() {
        check("app.web", "/logs/app.web");
        check("a/b c", "/logs/a/b_c");
        check("../../etc/passwd", "/logs/_/_/etc/passwd");
        check("/etc/passwd", "/logs/etc/passwd");
        check("a/./b//c", "/logs/a/b/c");
        check("....", "/logs/__");
        check("", "/logs/_");
        check("///", "/logs/_");
        check("a\0b\nc\\d", "/logs/a_b_c_d");
    }

    #[test]
    fn long_names_are_cut_and_stay_apart() {
        let [one, two] =
            ["1", "2"].map(|end| of_tag(Path::new("/l"), format!("{}{end}", "x".repeat(400)).as_bytes()));
        assert_eq!(one.file_name().unwrap().len(), 255);
        assert_ne!(one, two);
    }

    proptest! {
        #[test]
        fn nothing_leaves_the_folder(tag in proptest::collection::vec(any::<u8>(), 0..600)) {
            let path = of_tag(Path::new("/logs"), &tag);
            let below = path.strip_prefix("/logs").unwrap();
            prop_assert!(below.components().count() > 0);
            for component in below.components() {
                let Component::Normal(name) = component else {
                    panic!("{component:?}");
                };
                prop_assert!(name.len() <= 255);
            }
        }
    }
}
