// Environments as launchers were seen to set them, or as their manuals say.
#include <gtest/gtest.h>

#include <cstdlib>
#include <map>
#include <string>

#include "comm/communicator.h"
#include "core/error.h"

extern char** environ;

namespace saslm {
namespace {

using Variables = std::map<std::string, std::string>;

// Nothing else that a launcher of these tests has set counts.
LaunchedAs launched_by(const Variables& variables) {
  for (bool again = true; again;) {
    again = false;
    for (char** one = environ; *one != nullptr && !again; ++one) {
      const std::string name = std::string(*one).substr(0, std::string(*one).find('='));
      for (const char* of : {"RANK", "WORLD_", "LOCAL_", "MASTER_", "TORCHELASTIC", "OMPI_", "PMI", "MPI_",
                             "SLURM_", "SASLM_LISTENER", "SASLM_SECRET"})
        again = again || name.starts_with(of);
      if (again) unsetenv(name.c_str());
    }
  }
  for (const auto& [name, value] : variables) setenv(name.c_str(), value.c_str(), 1);
  return launched_as();
}

Variables with(Variables base, const Variables& more) {
  for (const auto& [name, value] : more) base[name] = value;
  return base;
}

std::string refusal(const Variables& variables) {
  try {
    launched_by(variables);
  } catch (const ConfigError& e) {
    return e.what();
  }
  return "";
}

const Variables kTorchrun = {{"RANK", "5"},
                             {"WORLD_SIZE", "8"},
                             {"LOCAL_RANK", "1"},
                             {"LOCAL_WORLD_SIZE", "4"},
                             {"GROUP_RANK", "1"},
                             {"MASTER_ADDR", "node7"},
                             {"MASTER_PORT", "29500"},
                             {"TORCHELASTIC_USE_AGENT_STORE", "False"}};
const Variables kOpenMpi = {{"OMPI_COMM_WORLD_RANK", "3"},       {"OMPI_COMM_WORLD_SIZE", "8"},
                            {"OMPI_COMM_WORLD_LOCAL_RANK", "1"}, {"OMPI_COMM_WORLD_LOCAL_SIZE", "2"},
                            {"OMPI_COMM_WORLD_NODE_RANK", "1"},  {"PMIX_RANK", "3"}};
const Variables kMpich = {
    {"PMI_RANK", "3"}, {"PMI_SIZE", "4"}, {"MPI_LOCALRANKID", "1"}, {"MPI_LOCALNRANKS", "2"}};
// A job of three nodes, `srun --ntasks=5`; this is the second task of the second node.
const Variables kSrun = {{"SLURM_JOB_ID", "123456"},
                         {"SLURM_NTASKS", "5"},
                         {"SLURM_PROCID", "3"},
                         {"SLURM_LOCALID", "1"},
                         {"SLURM_NODEID", "1"},
                         {"SLURM_STEP_ID", "0"},
                         {"SLURM_STEP_NUM_TASKS", "5"},
                         {"SLURM_STEP_NODELIST", "node[009,012-013]"},
                         {"SLURM_STEP_TASKS_PER_NODE", "2(x2),1"}};
const Variables kBatchScript = {{"SLURM_JOB_ID", "123456"}, {"SLURM_NTASKS", "8"},
                                {"SLURM_PROCID", "0"},      {"SLURM_LOCALID", "0"},
                                {"SLURM_NODEID", "0"},      {"SLURM_JOB_NODELIST", "node[1-2]"}};

void expect(const LaunchedAs& as, int rank, int size, int local_rank, int local_size,
            const std::string& where) {
  EXPECT_EQ(as.rank, rank);
  EXPECT_EQ(as.size, size);
  EXPECT_EQ(as.local_rank, local_rank);
  EXPECT_EQ(as.local_size, local_size);
  EXPECT_EQ(as.master_host.empty() ? "MPI" : as.master_host + ":" + std::to_string(as.master_port), where);
  EXPECT_TRUE(as.launched);
}

TEST(LaunchedAs, WithoutALauncherItIsOneRank) {
  for (const Variables& variables : {Variables{}, kBatchScript, Variables{{"RANK", "3"}}}) {
    const LaunchedAs as = launched_by(variables);
    EXPECT_EQ(as.rank, 0);
    EXPECT_EQ(as.size, 1);
    EXPECT_FALSE(as.launched);
  }
}

TEST(LaunchedAs, FollowsTorchrun) {
  expect(launched_by(kTorchrun), 5, 8, 1, 4, "node7:29500");
}

TEST(LaunchedAs, LeavesTorchrunsPortToItsOwnProcess) {
  expect(launched_by(with(kTorchrun, {{"TORCHELASTIC_USE_AGENT_STORE", "True"}})), 5, 8, 1, 4, "node7:29501");
}

TEST(LaunchedAs, FollowsWhatPeopleSetByHand) {
  const Variables hand = {
      {"RANK", "1"}, {"WORLD_SIZE", "2"}, {"MASTER_ADDR", "localhost"}, {"MASTER_PORT", "4000"}};
  expect(launched_by(hand), 1, 2, 1, 2, "localhost:4000");
  const std::string elsewhere = refusal(with(hand, {{"MASTER_ADDR", "node7"}}));
  EXPECT_NE(elsewhere.find("LOCAL_WORLD_SIZE"), std::string::npos) << elsewhere;
}

TEST(LaunchedAs, OneRankByTorchrunIsAnOrdinaryProcess) {
  const LaunchedAs as = launched_by({{"RANK", "0"}, {"WORLD_SIZE", "1"}});
  EXPECT_EQ(as.size, 1);
  EXPECT_FALSE(as.launched);
}

TEST(LaunchedAs, FollowsOpenMpiAlsoWithinSlurm) {
  expect(launched_by(kOpenMpi), 3, 8, 1, 2, "MPI");
  expect(launched_by(with(kSrun, kOpenMpi)), 3, 8, 1, 2, "MPI");
}

TEST(LaunchedAs, FollowsMpichAlsoWithinSlurm) {
  expect(launched_by(kMpich), 3, 4, 1, 2, "MPI");
  expect(launched_by(with(kSrun, kMpich)), 3, 4, 1, 2, "MPI");
  expect(launched_by({{"PMI_RANK", "3"}, {"PMI_SIZE", "4"}}), 3, 4, 3, 4, "MPI");
}

TEST(LaunchedAs, FollowsSrunToTheFirstHostAndAPortOfTheStepsOwn) {
  const LaunchedAs as = launched_by(kSrun);
  expect(as, 3, 5, 1, 2, "node009:" + std::to_string(as.master_port));
  EXPECT_GE(as.master_port, 20000);
  EXPECT_LT(as.master_port, 32000);
  EXPECT_NE(launched_by(with(kSrun, {{"SLURM_STEP_ID", "1"}})).master_port, as.master_port);
  EXPECT_NE(launched_by(with(kSrun, {{"SLURM_JOB_ID", "123457"}})).master_port, as.master_port);
  expect(launched_by(with(kSrun, {{"PMI_RANK", "3"}, {"PMI_SIZE", "5"}, {"MASTER_PORT", "5000"}})), 3, 5, 1,
         2, "node009:5000");
  EXPECT_EQ(launched_by(with(kSrun, {{"MASTER_ADDR", "ib-node009"}})).master_host, "ib-node009");
}

TEST(LaunchedAs, ReadsSlurmsLists) {
  const std::pair<const char*, const char*> hosts[] = {{"node7", "node7"},
                                                       {"node7,node9", "node7"},
                                                       {"node[7]", "node7"},
                                                       {"rack[1-2]n[03,05],x", "rack1n03"},
                                                       {"gpu-[001-128].cluster", "gpu-001.cluster"}};
  for (const auto& [list, first] : hosts)
    EXPECT_EQ(launched_by(with(kSrun, {{"SLURM_STEP_NODELIST", list}})).master_host, first);
  const std::pair<const char*, int> tasks[] = {{"1,2,2", 2}, {"1,4", 4}, {"3(x1),2", 2}, {"2(x3)", 2}};
  for (const auto& [list, here] : tasks)
    EXPECT_EQ(launched_by(with(kSrun, {{"SLURM_STEP_TASKS_PER_NODE", list}})).local_size, here);
}

TEST(LaunchedAs, KnowsWhatSaysSoAndWhatToUnset) {
  const LaunchedAs torchrun = launched_by(kTorchrun), srun = launched_by(kSrun);
  EXPECT_EQ(torchrun.said_by, "RANK=5, WORLD_SIZE=8, MASTER_ADDR=node7, MASTER_PORT=29500");
  EXPECT_EQ(torchrun.to_unset, "RANK WORLD_SIZE");
  EXPECT_EQ(srun.said_by, "SLURM_PROCID=3, SLURM_STEP_NUM_TASKS=5, SLURM_STEP_NODELIST=node[009,012-013]");
  for (const Variables& variables :
       {kTorchrun, kSrun, kOpenMpi, kMpich, with(kSrun, kTorchrun), with(kSrun, with(kMpich, kOpenMpi))}) {
    const std::string names = " " + launched_by(variables).to_unset + " ";
    Variables rest;
    for (const auto& one : variables)
      if (names.find(" " + one.first + " ") == names.npos) rest.insert(one);
    EXPECT_EQ(launched_by(rest).size, 1) << names;
  }
  const std::string refused = refusal(with(kTorchrun, {{"MASTER_ADDR", ""}}));
  EXPECT_NE(refused.find("unset RANK WORLD_SIZE"), std::string::npos) << refused;
}

TEST(LaunchedAs, TakesASecretAndShowsNoWrongOne) {
  EXPECT_FALSE(launched_by(kTorchrun).secret);
  const std::string text = "000102030405060708090a0b0c0d0e0f";
  const LaunchedAs as = launched_by(with(kTorchrun, {{"SASLM_SECRET", text}}));
  ASSERT_TRUE(as.secret);
  EXPECT_EQ(*as.secret, *secret_of(text));
  const std::string refused = refusal(with(kTorchrun, {{"SASLM_SECRET", "my secret"}}));
  EXPECT_NE(refused.find("SASLM_SECRET should be of 32 characters or more"), std::string::npos) << refused;
  EXPECT_EQ(refused.find("my secret"), std::string::npos) << refused;
}

TEST(LaunchedAs, RefusesWhatIsMalformedAndNamesTheVariable) {
  const std::pair<Variables, const char*> cases[] = {
      {with(kTorchrun, {{"WORLD_SIZE", "two"}}), "WORLD_SIZE"},
      {with(kTorchrun, {{"WORLD_SIZE", "0"}}), "WORLD_SIZE"},
      {with(kTorchrun, {{"WORLD_SIZE", "99999999999999999999"}}), "WORLD_SIZE"},
      {with(kTorchrun, {{"RANK", "8"}}), "RANK"},
      {with(kTorchrun, {{"RANK", "-1"}}), "RANK"},
      {with(kTorchrun, {{"RANK", "1 "}}), "RANK"},
      {with(kTorchrun, {{"LOCAL_RANK", "4"}}), "LOCAL_RANK"},
      {with(kTorchrun, {{"LOCAL_WORLD_SIZE", "9"}}), "LOCAL_WORLD_SIZE"},
      {with(kTorchrun, {{"MASTER_ADDR", ""}}), "MASTER_ADDR"},
      {with(kTorchrun, {{"MASTER_PORT", ""}}), "MASTER_PORT"},
      {with(kTorchrun, {{"MASTER_PORT", "65536"}}), "MASTER_PORT"},
      {with(kTorchrun, {{"SASLM_LISTENER", "x"}}), "SASLM_LISTENER"},
      {with(kOpenMpi, {{"OMPI_COMM_WORLD_SIZE", "2"}}), "OMPI_COMM_WORLD_RANK"},
      {with(kSrun, {{"SLURM_JOB_ID", ""}}), "SLURM_JOB_ID"},
      {with(kSrun, {{"SLURM_STEP_NODELIST", ""}}), "SLURM_STEP_NODELIST"},
      {with(kSrun, {{"SLURM_STEP_NODELIST", "node[1-"}}), "SLURM_STEP_NODELIST"},
      {with(kSrun, {{"SLURM_STEP_TASKS_PER_NODE", "2"}}), "SLURM_STEP_TASKS_PER_NODE"},
      {with(kSrun, {{"SLURM_STEP_TASKS_PER_NODE", "2(x"}}), "SLURM_STEP_TASKS_PER_NODE"},
      {with(kSrun, {{"SLURM_STEP_TASKS_PER_NODE", "2;2"}}), "SLURM_STEP_TASKS_PER_NODE"},
      {with(kSrun, {{"SLURM_LOCALID", "2"}}), "SLURM_LOCALID"},
  };
  for (const auto& [variables, name] : cases)
    EXPECT_NE(refusal(variables).find("the environment's " + std::string(name) + " should be"),
              std::string::npos)
        << name << ": " << refusal(variables);
}

}  // namespace
}  // namespace saslm
