//! ELF programs and libraries: what they need before their first instruction.

use std::io::{Read, Seek};

use object::elf::{self, FileHeader32, FileHeader64};
use object::read::elf::{Dyn, FileHeader, ProgramHeader};
use object::read::{ReadCache, ReadRef, StringTable};
use serde::Serialize;

/// Longer names than a path can have are no names (`PATH_MAX`).
const LONGEST_INTERPRETER: u64 = 4096;
/// Real dynamic sections have some dozens of entries of 16 bytes.
const LARGEST_DYNAMIC: u64 = 1 << 20;

/// What an ELF file says about how it wants to be started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Elf {
    /// `e_machine`.
    pub machine: Machine,
    /// 64-bit, or 32-bit.
    pub wide: bool,
    /// How it is linked.
    pub linkage: Linkage,
    /// `PT_INTERP`: the dynamic loader.
    pub interpreter: Option<String>,
    /// `DT_NEEDED`, in order.
    pub needed: Vec<String>,
    /// `DT_RPATH`, split at colons.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rpath: Vec<String>,
    /// `DT_RUNPATH`, split at colons.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub runpath: Vec<String>,
    /// `DT_SONAME`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub soname: Option<String>,
}

/// How a program is linked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Linkage {
    /// At fixed addresses, nothing needed.
    Static,
    /// Anywhere in memory, nothing needed.
    StaticPie,
    /// A loader puts it together.
    Dynamic,
}

/// A processor, by its ELF number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(into = "String")]
pub struct Machine(pub u16);

/// `GOARCH` and the machine its programs have. Source: Go's `cmd/internal/sys`; the ELF numbers from gABI.
const MACHINES: [(&str, u16); 12] = [
    ("amd64", elf::EM_X86_64.0),
    ("386", elf::EM_386.0),
    ("arm64", elf::EM_AARCH64.0),
    ("arm", elf::EM_ARM.0),
    ("riscv64", elf::EM_RISCV.0),
    ("ppc64le", elf::EM_PPC64.0),
    ("ppc64", elf::EM_PPC64.0),
    ("s390x", elf::EM_S390.0),
    ("mips64le", elf::EM_MIPS.0),
    ("mips64", elf::EM_MIPS.0),
    ("loong64", elf::EM_LOONGARCH.0),
    ("mipsle", elf::EM_MIPS.0),
];

impl Machine {
    /// Whether a kernel for this `GOARCH` starts such a program; `None` for an architecture that is not known here.
    pub fn runs_on(self, architecture: &str) -> Option<bool> {
        let (_, own) = MACHINES.iter().find(|(name, _)| *name == architecture)?;
        let older = match architecture {
            "amd64" => self.0 == elf::EM_386.0,
            "arm64" => self.0 == elf::EM_ARM.0,
            _ => false,
        };
        Some(self.0 == *own || older)
    }

    /// As `GOARCH` has it.
    pub fn name(self) -> String {
        match MACHINES.iter().find(|(_, number)| *number == self.0) {
            Some((name, _)) => (*name).to_owned(),
            None => format!("ELF machine {}", self.0),
        }
    }
}

impl From<Machine> for String {
    fn from(machine: Machine) -> String {
        machine.name()
    }
}

/// The file starts as an ELF file does, and goes on as none.
#[derive(Debug, thiserror::Error)]
#[error("not a usable ELF file: {0}")]
pub struct ElfError(String);

impl From<object::read::Error> for ElfError {
    fn from(error: object::read::Error) -> Self {
        ElfError(error.to_string())
    }
}

impl Elf {
    /// Whether these first bytes of a file are an ELF file's.
    pub fn is_one(start: &[u8]) -> bool {
        start.starts_with(&elf::ELFMAG)
    }

    /// Reads the headers and the dynamic section, and nothing else of the file.
    ///
    /// # Errors
    ///
    /// [`ElfError`] when headers are cut off, point outside of the file or are larger than any real one.
    pub fn read(file: impl Read + Seek) -> Result<Elf, ElfError> {
        let file = ReadCache::new(file);
        let ident = file.read_bytes_at(0, 16).map_err(|()| ElfError("it ends in its header".to_owned()))?;
        match ident[4] {
            1 => read::<FileHeader32<object::Endianness>>(&file),
            2 => read::<FileHeader64<object::Endianness>>(&file),
            class => Err(ElfError(format!("class {class}"))),
        }
    }
}

fn read<'data, H>(data: impl ReadRef<'data>) -> Result<Elf, ElfError>
where
    H: FileHeader<Endian = object::Endianness>,
{
    let header = H::parse(data)?;
    let endian = header.endian()?;
    let segments = header.program_headers(endian, data)?;
    let too_large = |what: &str, size: u64| ElfError(format!("{what} of {size} bytes"));

    let mut interpreter = None;
    let mut dynamic = None;
    for segment in segments {
        let size = segment.p_filesz(endian).into();
        match segment.p_type(endian) {
            elf::PT_INTERP if size > LONGEST_INTERPRETER => return Err(too_large("a loader's name", size)),
            elf::PT_INTERP => interpreter = segment.interpreter(endian, data)?.map(text),
            elf::PT_DYNAMIC if size > LARGEST_DYNAMIC => return Err(too_large("a dynamic section", size)),
            elf::PT_DYNAMIC => dynamic = segment.dynamic(endian, data)?,
            _ => {}
        }
    }
    let entries = dynamic.unwrap_or_default();
    let value = |tag: elf::DynamicTag| entries.iter().find(|entry| entry.tag(endian) == tag).map(|e| e.val(endian));

    // Addresses are those in memory; the segment that is loaded there says where in the file they are.
    let in_file = |address: u64| {
        segments.iter().filter(|segment| segment.p_type(endian) == elf::PT_LOAD).find_map(|segment| {
            let within = address.checked_sub(segment.p_vaddr(endian).into())?;
            let size: u64 = segment.p_filesz(endian).into();
            (within < size).then(|| segment.p_offset(endian).into().checked_add(within)).flatten()
        })
    };
    let start = value(elf::DT_STRTAB).and_then(in_file).unwrap_or_default();
    let end = start.saturating_add(value(elf::DT_STRSZ).unwrap_or_default());
    let end = end.min(data.len().unwrap_or_default());
    let strings = StringTable::new(data, start, end.max(start));
    let all = |tag: elf::DynamicTag| -> Result<Vec<String>, ElfError> {
        let own = entries.iter().take_while(|entry| entry.tag(endian) != elf::DT_NULL);
        own.filter(|entry| entry.tag(endian) == tag).map(|entry| Ok(text(entry.string(endian, strings)?))).collect()
    };
    let list = |tag| -> Result<Vec<String>, ElfError> {
        let parts = all(tag)?.iter().flat_map(|path| path.split(':').map(str::to_owned)).collect::<Vec<_>>();
        Ok(parts.into_iter().filter(|part| !part.is_empty()).collect())
    };
    let needed = all(elf::DT_NEEDED)?;
    let movable = header.e_type(endian) == elf::ET_DYN;
    let linkage = match interpreter {
        None if movable && needed.is_empty() => Linkage::StaticPie,
        None if !movable => Linkage::Static,
        _ => Linkage::Dynamic,
    };
    Ok(Elf {
        machine: Machine(header.e_machine(endian).0),
        wide: header.is_class_64(),
        linkage,
        interpreter,
        needed,
        rpath: list(elf::DT_RPATH)?,
        runpath: list(elf::DT_RUNPATH)?,
        soname: all(elf::DT_SONAME)?.pop(),
    })
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    #[test]
    fn this_very_test_is_a_static_program_for_this_machine() {
        let own = Elf::read(std::fs::File::open("/proc/self/exe").unwrap()).unwrap();
        assert_eq!((own.linkage, own.interpreter.as_deref()), (Linkage::StaticPie, None));
        assert_eq!(own.machine.runs_on(&crate::platform::Platform::host().architecture), Some(true));
        assert!(own.needed.is_empty());
    }

    #[test]
    fn machines_are_told_apart() {
        assert_eq!(Machine(62).runs_on("amd64"), Some(true));
        assert_eq!(Machine(3).runs_on("amd64"), Some(true));
        assert_eq!(Machine(183).runs_on("amd64"), Some(false));
        assert_eq!(Machine(62).runs_on("wasm"), None);
        assert_eq!(Machine(9999).name(), "ELF machine 9999");
    }

    #[test]
    fn a_program_cut_off_anywhere_is_an_error_and_no_panic() {
        let own = std::fs::read("/proc/self/exe").unwrap();
        for length in (0..600).chain([1000, 5000]) {
            let _ = Elf::read(Cursor::new(&own[..length]));
        }
        assert!(Elf::read(Cursor::new(&own[..100])).is_err());
        assert!(Elf::read(Cursor::new(b"")).is_err());
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic(class in 0u8..4, bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..400)) {
            let _ = Elf::read(Cursor::new([&[0x7f, b'E', b'L', b'F', class, 1, 1][..], &bytes].concat()));
        }
    }
}
