# ruff: noqa
# fmt: off
# A user's program, run in many ways by test_pickling.py. It checks what
# becomes of its functions and classes in workers, and prints the results.
# (Comments only between definitions, and no blank lines inside them: it is
# also typed into a console.)
import abc
import collections
import concurrent.futures
import dataclasses
import enum
import functools
import json
import sys
import traceback
import typing
import weakref
from pickling_workers import Worker

COUNT = 0
T = typing.TypeVar("T")
UserId = typing.NewType("UserId", int)

def version():
    return 1

def inc():
    global COUNT
    COUNT += 1
    return COUNT

def get():
    return COUNT

def call_version():
    return version()

def even(n):
    return True if n == 0 else odd(n - 1)

def odd(n):
    return False if n == 0 else even(n - 1)

def same(value):
    return value

class MyError(Exception):
    pass

class Detailed(MyError):
    def __init__(self, message, detail=None):
        super().__init__(message)
        self.detail = detail

class Fussy(Exception):
    def __init__(self, a, b):
        super().__init__(a)

@dataclasses.dataclass
class Point:
    x: int
    y: list = dataclasses.field(default_factory=list)

@dataclasses.dataclass(frozen=True, slots=True)
class Slotted:
    x: int = 7

class Color(enum.Enum):
    RED = 1, "warm"
    CRIMSON = 1, "warm"
    BLUE = 2, "cold"
    def __new__(cls, value, feeling):
        member = object.__new__(cls)
        member._value_ = value
        member.feeling = feeling
        return member
    def describe(self):
        return self.name + " is " + self.feeling

class Size(int, enum.Enum):
    SMALL = 1
    LARGE = 9

class Mode(enum.Flag):
    READ = enum.auto()
    WRITE = enum.auto()
    BOTH = READ | WRITE

class Text(enum.StrEnum):
    HELLO = enum.auto()

class Pair(typing.NamedTuple):
    left: int
    right: int = 4

Old = collections.namedtuple("Old", "a b")

class Shape(abc.ABC):
    @abc.abstractmethod
    def area(self): ...
    def twice(self):
        return 2 * self.area()

class Square(Shape):
    __slots__ = ("side",)
    def __init__(self, side):
        super().__init__()
        self.side = side
    def area(self):
        return self.side ** 2
    def twice(self):
        return super().twice()
    @property
    def edge(self):
        return self.side
    @edge.setter
    def edge(self, value):
        self.side = value
    @classmethod
    def unit(cls):
        return cls(1)
    @staticmethod
    def corners():
        return 4
    class Corner:
        class Angle:
            degrees = 90

class Lazy:
    @functools.cached_property
    def answer(self):
        return 42

class Box(typing.Generic[T]):
    def __init__(self, item: T):
        self.item = item
    def get(self) -> T:
        return self.item

class Registry(type):
    def __new__(meta, name, bases, body, tag=None):
        cls = super().__new__(meta, name, bases, body)
        cls.tag = tag or getattr(cls, "tag", None)
        return cls
    def shout(cls):
        return cls.__name__.upper()

class Registered(metaclass=Registry, tag="loud"):
    pass

class Demanding:
    def __init_subclass__(cls, *, kind, **more):
        super().__init_subclass__(**more)
        cls.kind = kind

class Demanded(Demanding, kind="special"):
    pass

class Duck:
    pass

Shape.register(Duck)

class Missing:
    def __reduce__(self):
        return "MISSING"

MISSING = Missing()

class Getter:
    calls = 0
    def __init__(self):
        self.value = 5
    def __getstate__(self):
        type(self).calls += 1
        return {"value": self.value}

@functools.lru_cache(maxsize=None)
def fib(n):
    return n if n < 2 else fib(n - 1) + fib(n - 2)

@functools.singledispatch
def kind_of(value):
    return "thing"

@kind_of.register
def _(value: int):
    return "number"

def decorate(function):
    @functools.wraps(function)
    def wrapper(*args):
        return function(*args) + 1
    return wrapper

@decorate
def decorated(n):
    return n

class Command:
    def __init__(self, function):
        self.__wrapped__ = function
    def __call__(self, *args):
        return self.__wrapped__(*args)

@Command
def command():
    return 1

def call_command():
    return command()

def annotated(user: UserId, box: Box[int]) -> typing.Optional[Point]:
    return None

def make_counter():
    n = 0
    def up():
        nonlocal n
        n += 1
        return n
    def read():
        return n
    return up, read

def make_local_class():
    class Local:
        def me(self):
            return __class__
    return Local

def recursive():
    def count(n):
        return 0 if n == 0 else 1 + count(n - 1)
    return count

def pool_class():
    return concurrent.futures.ThreadPoolExecutor.__name__

def raises(error):
    raise error

def catches(error_type, function, *args):
    try:
        function(*args)
    except error_type as error:
        return error

CHECKS = {}

def check(function):
    CHECKS[function.__name__] = function
    return function

@check
def functions_share_one_namespace(w, v):
    before = w(get)
    return [w(inc) - before, w(inc) - before, w(get) - before, COUNT] == [1, 2, 2, 0]

@check
def a_lambda_shares_the_namespace(w, v):
    w(inc)
    return w(lambda: COUNT) == w(get)

@check
def workers_have_their_own_namespaces(w, v):
    w(inc)
    before = v(get)
    w(inc)
    return v(get) == before

@check
def a_function_comes_back_as_itself(w, v):
    local = make_counter()[0]
    nameless = lambda: None
    return all(w(same, f) is f for f in (inc, even, local, nameless, decorated))

@check
def a_function_sent_twice_is_one(w, v):
    first = w(lambda f: id(f), inc)
    return first == w(lambda f: id(f), inc) == w(lambda: id(inc))

@check
def a_new_definition_replaces_the_old(w, v):
    global version
    old, kept = w(call_version), version
    def version(): return 2
    version.__qualname__ = "version"
    new = w(call_version)
    direct = w(version)
    version = kept
    return [new, direct] == [2, 2] and w(kept) == 1

@check
def mutual_recursion(w, v):
    return w(even, 10) is True and w(odd, 4) is False

@check
def a_class_comes_back_as_itself(w, v):
    classes = [MyError, Point, Slotted, Color, Mode, Pair, Old, Square, Box, Registered, Shape, Square.Corner, Square.Corner.Angle, make_local_class()]
    return all(w(same, cls) is cls for cls in classes)

@check
def instances_come_back_with_their_class(w, v):
    things = [Point(1, [2]), Slotted(3), Pair(1), Old(1, 2), Color.RED, Size.LARGE, Mode.BOTH, Text.HELLO]
    return all(w(same, x) == x and type(w(same, x)) is type(x) for x in things)

@check
def instances_made_there_have_our_class(w, v):
    return isinstance(w(lambda: Square(2)), Square) and w(Point, 1) == Point(1) and w(lambda: Slotted()) == Slotted()

@check
def the_worker_sees_one_class(w, v):
    first = w(id, Point)
    return first == w(id, Point) == w(lambda p: id(type(p)), Point(1)) == w(lambda: id(Point))

@check
def worker_to_worker(w, v):
    copy = v(lambda p: (p, isinstance(p, Point), type(p)), w(lambda: Point(3)))
    return copy == (Point(3), True, Point)

@check
def forwarded_without_the_origin(w, v):
    import pulsar_native._pickling as pickling
    forward = lambda f, *args: pickling.dumps((f, args))
    message = w(forward, lambda p, cls: (isinstance(p, cls), cls), Square(2), Shape)
    done, value = pickling.loads(v.exchange(message))
    again = v(lambda: isinstance(Square(1), Shape))
    return done and value == (True, Shape) and value[1] is Shape and again

@check
def our_except_catches(w, v):
    error = catches(MyError, w, raises, MyError("x", 1))
    return error.args == ("x", 1) and "raises" in str(error.__cause__)

@check
def their_except_catches(w, v):
    return isinstance(w(catches, MyError, raises, Detailed("x", 3)), Detailed)

@check
def state_of_exceptions_travels(w, v):
    return catches(Detailed, w, raises, Detailed("x", [3])).detail == [3]

@check
def an_exception_that_cannot_be_made_is_remote(w, v):
    from pulsar_native.exceptions import RemoteError
    error = catches(RemoteError, w, lambda: raises(Fussy(1, 2)))
    return error.type_name.endswith("Fussy") and error.message == "1" and "raises" in error.traceback

@check
def enumerations_work_there(w, v):
    def probe(color, size, mode, text):
        return [color.BLUE.describe(), color.CRIMSON is color.RED, color(1) is color.RED, list(color) == [color.RED, color.BLUE], size.SMALL + 1, mode.READ | mode.WRITE is mode.BOTH, mode.BOTH.value, text.HELLO.upper()]
    return w(probe, Color, Size, Mode, Text) == probe(Color, Size, Mode, Text)

@check
def dataclasses_work_there(w, v):
    def probe():
        class Sub(Point):
            pass
        sub = dataclasses.dataclass(Sub)(1)
        return [dataclasses.replace(Slotted(1), x=2).x, dataclasses.asdict(Point(1, [2])), Point(1) == Point(1), sub.y, dataclasses.fields(Point)[0].default is dataclasses.MISSING, hasattr(Slotted(), "__dict__")]
    return w(probe) == probe()

@check
def named_tuples_work_there(w, v):
    probe = lambda: [Pair(1)._replace(left=3)._asdict(), Old(1, 2).b, Pair._fields]
    return w(probe) == probe()

@check
def methods_work_there(w, v):
    def probe(square):
        square.edge = 3
        return [square.area(), square.twice(), square.edge, type(square).unit().side, square.corners(), isinstance(square, Shape), isinstance(Duck(), Shape), square.Corner.Angle.degrees]
    return w(probe, Square(2)) == probe(Square(2))

@check
def methods_are_arguments(w, v):
    return [w(Square(3).area), w(Square.unit).side, w(Square.corners), w(Square.area, Square(2))] == [9, 1, 4, 4]

@check
def abstract_stays_abstract(w, v):
    return w(lambda: catches(TypeError, Shape) is not None)

@check
def metaclasses_and_init_subclass(w, v):
    probe = lambda: [Registered.shout(), Registered.tag, Demanded.kind]
    w(same, Demanding)
    return w(probe) == probe() and w(issubclass, Demanded, Demanding)

@check
def generics_and_annotations(w, v):
    def probe():
        hints = typing.get_type_hints(annotated)
        return [Box[int](3).get(), hints["user"] is UserId, hints["box"] == Box[int], Box.__parameters__ == (T,)]
    return w(probe) == probe() == [3, True, True, True]

@check
def cached_and_dispatched_functions(w, v):
    return [w(fib, 30), w(kind_of, 3), w(kind_of, "x"), w(decorated, 1), w(lambda: Lazy().answer)] == [832040, "number", "thing", 2, 42]

@check
def singletons_stay_single(w, v):
    return w(same, MISSING) is MISSING and w(lambda x: x is MISSING, MISSING)

@check
def state_is_taken_once(w, v):
    before = Getter.calls
    return w(lambda g: g.value, Getter()) == 5 and Getter.calls == before + 1

@check
def closures_share_their_cells(w, v):
    up, read = make_counter()
    return w(lambda a, b: (a(), a(), b()), up, read) == (1, 2, 2) and read() == 0

@check
def identity_inside_a_message(w, v):
    data = []
    return w(lambda f, x: f() is x, lambda: data, data)

@check
def local_recursion_and_local_classes(w, v):
    Local = make_local_class()
    return w(recursive(), 5) == 5 and w(Local().me) is Local and w(id, Local) == w(lambda x: id(type(x)), Local())

@check
def submodules_are_there(w, v):
    return w(pool_class) == "ThreadPoolExecutor"

@check
def commands_wrap_functions(w, v):
    return w(call_command) == 1 and w(command) == 1

@check
def globals_of_now_go_to_a_new_worker(w, v):
    global COUNT
    COUNT = 1000
    with Worker() as fresh:
        seen = fresh(get)
    COUNT = 0
    return seen == 1000

@check
def fresh_lambdas_are_let_go(w, v):
    def size():
        import gc
        from pulsar_native import _definitions as d
        gc.collect()
        return len(d.known._idents), len(d.namespaces._spaces), len(d._stamps._stamps)
    before = w(size)
    for n in range(300):
        w(lambda: n)
    return max(a - b for a, b in zip(w(size), before)) < 30

def run_checks():
    results = {}
    with Worker() as w, Worker() as v:
        for name, function in CHECKS.items():
            try:
                results[name] = "ok" if function(w, v) is True else "failed"
            except BaseException:
                results[name] = traceback.format_exc()
    print("RESULTS", json.dumps(results), flush=True)

if not globals().get("NOT_NOW"):
    run_checks()
