# sidekiq_app: jobs of Sidekiq, for test_app_sidekiq.py. `sidekiq -r ./sidekiq_app.rb` serves the queue; run by itself with
# `produce` it fills it until it reads a line, and ends when all is done.
require 'sidekiq'
require 'sidekiq/api'

def note(word, job)
  File.open(ENV.fetch('JOURNAL'), 'a') { |journal| journal.syswrite("#{word} #{job}\n") }
end

class NoteAcknowledged
  def call(_worker, job, _queue)
    yield
    note('acked', job['args'].first)
  end
end

Sidekiq.configure_server do |config|
  config.redis = { url: ENV.fetch('BROKER_URL') }
  config.server_middleware { |chain| chain.add NoteAcknowledged }
  config.average_scheduled_poll_interval = 1
end
Sidekiq.configure_client { |config| config.redis = { url: ENV.fetch('BROKER_URL') } }

class Plain
  include Sidekiq::Worker
  sidekiq_options retry: 100
  sidekiq_retry_in { 1 }

  def perform(job, fails)
    note('start', job)
    mark = File.join(File.dirname(ENV.fetch('JOURNAL')), "tried-#{job}")
    if fails && !File.exist?(mark)
      File.write(mark, '')
      raise 'as it should'
    end
    sleep 0.002
    note('done', job)
  end
end

LOST = [Redis::BaseConnectionError].freeze

# Until it is enough.
def produce(stopped)
  (0..).each do |number|
    return if stopped.call

    job = "j#{number}"
    begin
      began = Process.clock_gettime(Process::CLOCK_MONOTONIC)
      case number % 10
      when 1 then Plain.perform_in(1, job, false)
      when 2 then Plain.perform_async(job, true)
      when 3
        Sidekiq::Client.push_bulk('class' => Plain, 'args' => [["#{job}-a", false], ["#{job}-b", false]])
        note('added', "#{job}-a")
        job = "#{job}-b"
      else Plain.perform_async(job, false)
      end
      note('added', job)
      # The client sends again what broke off, silently: then a job may have been pushed twice.
      note('slow', number) if Process.clock_gettime(Process::CLOCK_MONOTONIC) - began > 0.1
    rescue *LOST
      note('unsure', number)
    end
    sleep 0.01
  end
end

def empty?
  stats = Sidekiq::Stats.new
  stats.enqueued.zero? && stats.scheduled_size.zero? && stats.retry_size.zero? && Sidekiq::Workers.new.size.zero?
end

if ARGV.first == 'produce'
  $stdout.sync = true
  enough = false
  Thread.new { $stdin.gets; enough = true }
  produce(-> { enough })
  ends = Time.now + 45 * ENV.fetch('TEST_SCALE', '1').to_f
  until (begin; empty?; rescue *LOST; false; end)
    abort 'not in time: all is done' if Time.now > ends
    sleep 0.1
  end
end
