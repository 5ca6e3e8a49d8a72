//! NVRTC, which compiles CUDA C++ for the device that is there. libtorch brings it for kernels of its own.

use std::ffi::{CString, c_char, c_int, c_void};
use std::ptr;

use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};
use tch::TchError;

/// libtorch's, which knows where NVRTC is.
const LIBRARY: &str = "libcaffe2_nvrtc.so";

type Program = *mut c_void;
type Result_ = c_int;

/// Documented in the manual of NVRTC, whose functions have had these types since they exist.
struct Functions {
    create: unsafe extern "C" fn(
        program: *mut Program,
        text: *const c_char,
        name: *const c_char,
        headers: c_int,
        header_texts: *const *const c_char,
        header_names: *const *const c_char,
    ) -> Result_,
    compile: unsafe extern "C" fn(program: Program, count: c_int, options: *const *const c_char) -> Result_,
    log_size: unsafe extern "C" fn(program: Program, bytes: *mut usize) -> Result_,
    log: unsafe extern "C" fn(program: Program, log: *mut c_char) -> Result_,
    code_size: unsafe extern "C" fn(program: Program, bytes: *mut usize) -> Result_,
    code: unsafe extern "C" fn(program: Program, code: *mut c_char) -> Result_,
    destroy: unsafe extern "C" fn(program: *mut Program) -> Result_,
    /// Behind what is called.
    _library: Library,
}

/// A program that is destroyed in the end.
struct Compiling {
    program: Program,
    functions: Functions,
}

/// Machine code for a device of this compute capability, ten times the major number and the minor one.
pub(super) fn compile(text: &str, capability: i32, options: &[String]) -> Result<Vec<u8>, TchError> {
    let text = CString::new(text)?;
    let program = Compiling::new(&text)?;
    let own = [format!("--gpu-architecture=sm_{capability}"), "--std=c++17".to_owned()];
    let options = own.iter().chain(options).map(|option| CString::new(option.as_str()));
    let options: Vec<CString> = options.collect::<Result<_, _>>()?;
    program.compile(&options)?;
    program.code()
}

impl Compiling {
    #[expect(unsafe_code, reason = "calls of a C library")]
    fn new(text: &CString) -> Result<Self, TchError> {
        let functions = open().map_err(TchError::Torch)?;
        let mut program = ptr::null_mut();
        // SAFETY: the text ends with a zero, and there are no headers.
        let result = unsafe {
            (functions.create)(
                &raw mut program,
                text.as_ptr(),
                c"csflowd.cu".as_ptr(),
                0,
                ptr::null(),
                ptr::null(),
            )
        };
        done(result, "begin")?;
        Ok(Self { program, functions })
    }

    #[expect(unsafe_code, reason = "a call of a C library")]
    fn compile(&self, options: &[CString]) -> Result<(), TchError> {
        let places: Vec<*const c_char> = options.iter().map(|option| option.as_ptr()).collect();
        let count = c_int::try_from(places.len()).expect("a few");
        // SAFETY: the program lives, and so do the options.
        let result = unsafe { (self.functions.compile)(self.program, count, places.as_ptr()) };
        done(result, "compile").map_err(|error| match self.error() {
            Some(line) => TchError::Torch(format!("a kernel does not compile: {line}")),
            None => error,
        })
    }

    /// The first error in the log.
    fn error(&self) -> Option<String> {
        let log = self.bytes(self.functions.log_size, self.functions.log).ok()?;
        let log = String::from_utf8_lossy(&log).into_owned();
        log.lines().find(|line| line.contains("error")).map(str::to_owned)
    }

    fn code(&self) -> Result<Vec<u8>, TchError> {
        self.bytes(self.functions.code_size, self.functions.code)
    }

    #[expect(unsafe_code, reason = "calls of a C library")]
    fn bytes(
        &self,
        size: unsafe extern "C" fn(Program, *mut usize) -> Result_,
        get: unsafe extern "C" fn(Program, *mut c_char) -> Result_,
    ) -> Result<Vec<u8>, TchError> {
        let mut count = 0;
        // SAFETY: the program lives; the size is written to a number.
        done(unsafe { size(self.program, &raw mut count) }, "measure")?;
        let mut bytes = vec![0_u8; count];
        // SAFETY: there is room for as much as it has said.
        done(unsafe { get(self.program, bytes.as_mut_ptr().cast()) }, "end")?;
        Ok(bytes)
    }
}

impl Drop for Compiling {
    #[expect(unsafe_code, reason = "a call of a C library")]
    fn drop(&mut self) {
        // SAFETY: it was made by the function's counterpart, and is destroyed once.
        let result = unsafe { (self.functions.destroy)(&raw mut self.program) };
        debug_assert_eq!(result, 0);
    }
}

fn done(result: Result_, what: &str) -> Result<(), TchError> {
    if result == 0 { Ok(()) } else { Err(TchError::Torch(format!("NVRTC cannot {what}: error {result}"))) }
}

#[expect(unsafe_code, reason = "opening a shared library runs its initialisers")]
fn open() -> Result<Functions, String> {
    fn symbol<T: Copy>(library: &Library, name: &[u8]) -> Result<T, String> {
        // SAFETY: the types in `Functions` are those of the manual.
        unsafe { library.get::<T>(name) }.map(|symbol| *symbol).map_err(|error| error.to_string())
    }
    // SAFETY: it is a library of the libtorch that this binary is linked to, whose initialisers have no precondition.
    let library = unsafe { Library::open(Some(LIBRARY), RTLD_NOW | RTLD_LOCAL) };
    let library = library.map_err(|error| error.to_string())?;
    // What it depends on is found through it.
    Ok(Functions {
        create: symbol(&library, b"nvrtcCreateProgram\0")?,
        compile: symbol(&library, b"nvrtcCompileProgram\0")?,
        log_size: symbol(&library, b"nvrtcGetProgramLogSize\0")?,
        log: symbol(&library, b"nvrtcGetProgramLog\0")?,
        code_size: symbol(&library, b"nvrtcGetCUBINSize\0")?,
        code: symbol(&library, b"nvrtcGetCUBIN\0")?,
        destroy: symbol(&library, b"nvrtcDestroyProgram\0")?,
        _library: library,
    })
}
